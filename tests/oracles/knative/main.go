// What Knative's own webhook says of a Service: a line in is {"yaml": the manifest's text, "features":
// [flags that are on]}, a line out {"complaints": […], "value": the manifest as Kubernetes reads it}.
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
	Complaints []string        `json:"complaints"`
	Value      json.RawMessage `json:"value"`
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
		return answer{[]string{"not YAML: " + err.Error()}, nil}
	}
	service := &servingv1.Service{}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields() // the API server prunes them: a typing error of ours would go unnoticed
	if err := decoder.Decode(service); err != nil {
		return answer{[]string{"not a Service: " + err.Error()}, plain}
	}
	ctx := apis.WithinCreate(config.ToContext(context.Background(), settings(asked.Features)))
	service.SetDefaults(ctx)
	found := service.Validate(ctx)
	if found != nil {
		// Warnings as well: what Knative calls insecure is not what we want to render.
		return answer{[]string{found.Error()}, plain}
	}
	return answer{[]string{}, plain}
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
