// What Knative's own webhook says of a Service: one JSON object on each line of standard input is
// {"yaml": the text of a manifest, "features": [flags that are on]}; the answer is a line
// {"errors": "…", "value": the manifest as Kubernetes reads it}, with empty errors where it is accepted.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/util/yaml"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	autoscalerconfig "knative.dev/serving/pkg/autoscaler/config"
)

type question struct {
	YAML     string   `json:"yaml"`
	Features []string `json:"features"`
}

type answer struct {
	Errors string          `json:"errors"`
	Value  json.RawMessage `json:"value,omitempty"`
}

// The scanner's longest line: a manifest that has a string of 1 MB, with its escapes.
const longest = 64 << 20

func main() {
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(make([]byte, 1<<20), longest)
	out := bufio.NewWriter(os.Stdout)
	for scanner.Scan() {
		var asked question
		if err := json.Unmarshal(scanner.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		line, _ := json.Marshal(judge(asked))
		out.Write(append(line, '\n'))
		out.Flush()
	}
	if err := scanner.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func judge(asked question) answer {
	plain, err := yaml.ToJSON([]byte(asked.YAML))
	if err != nil {
		return answer{Errors: "not YAML: " + err.Error()}
	}
	service := &servingv1.Service{}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields() // the API server prunes them: a typing error of ours would go unnoticed
	if err := decoder.Decode(service); err != nil {
		return answer{Errors: "not a Service: " + err.Error(), Value: plain}
	}
	ctx := apis.WithinCreate(config.ToContext(context.Background(), settings(asked.Features)))
	service.SetDefaults(ctx)
	found := service.Validate(ctx)
	if found != nil {
		// Warnings as well: what Knative calls insecure is not what we want to render.
		return answer{Errors: found.Error(), Value: plain}
	}
	return answer{Value: plain}
}

// The cluster's configuration, with the given flags on; "allow-zero-initial-scale" is the autoscaler's.
func settings(flags []string) *config.Config {
	on := map[string]string{}
	scaler := map[string]string{}
	for _, flag := range flags {
		if flag == "allow-zero-initial-scale" {
			scaler[flag] = "true"
		} else {
			on[flag] = "enabled"
		}
	}
	features, err := config.NewFeaturesConfigFromMap(on)
	must(err)
	defaults, err := config.NewDefaultsConfigFromMap(map[string]string{})
	must(err)
	autoscaler, err := autoscalerconfig.NewConfigFromMap(scaler)
	must(err)
	return &config.Config{Features: features, Defaults: defaults, Autoscaler: autoscaler}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
