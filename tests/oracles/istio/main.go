// Istio's own opinion of its resources: a line in is a manifest's YAML as a JSON string, a line out
// {"complaints": […], "value": the manifest as Istio reads it}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

const longestLine = 64 << 20

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := out.Encode(judge(lines.Bytes())); err != nil {
			panic(err)
		}
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
}

type answer struct {
	Complaints []string        `json:"complaints"`
	Value      json.RawMessage `json:"value"`
}

func judge(line []byte) answer {
	var text string
	if err := json.Unmarshal(line, &text); err != nil {
		panic(err)
	}
	value, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return answer{Complaints: []string{"not YAML: " + err.Error()}}
	}
	return answer{complaints(value), value}
}

// complaints of the webhook about one resource; an empty list is approval. Warnings count.
func complaints(text []byte) []string {
	var object crd.IstioKind
	if err := json.Unmarshal(text, &object); err != nil {
		return []string{err.Error()}
	}
	kind := schema.FromAPIVersionAndKind(object.APIVersion, object.Kind)
	found, exists := collections.Istio.FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&kind))
	if !exists {
		return []string{fmt.Sprintf("Istio has no %s", kind)}
	}
	config, err := crd.ConvertObject(found, &object, "cluster.local")
	if err != nil {
		return []string{err.Error()}
	}
	said := []string{}
	warning, err := found.ValidateConfig(*config)
	if warning != nil {
		said = append(said, "warning: "+warning.Error())
	}
	if err != nil {
		said = append(said, err.Error())
	}
	return said
}
