// Kubernetes' own opinion of manifests: a line in is a manifest's YAML as a JSON string, a line out
// {"complaints": […], "value": the manifest as Kubernetes reads it}.
//
// Kinds of Kubernetes itself go through its defaulting and validation, others through the
// CustomResourceDefinitions in the files named as arguments, CEL rules included. Unknown fields are complaints.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"

	"sigs.k8s.io/yaml"

	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
)

const longestLine = 64 << 20

func main() {
	custom, err := readDefinitions(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	decoder := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDecoder()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := out.Encode(judge(lines.Bytes(), decoder, custom)); err != nil {
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

func judge(line []byte, decoder runtime.Decoder, custom definitions) answer {
	var text string
	if err := json.Unmarshal(line, &text); err != nil {
		panic(err)
	}
	value, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return answer{Complaints: []string{"not YAML: " + err.Error()}}
	}
	return answer{complaints(value, decoder, custom), value}
}

// complaints of the API server about one object; an empty list is approval.
func complaints(text []byte, decoder runtime.Decoder, custom definitions) []string {
	var content map[string]any
	if err := utiljson.Unmarshal(text, &content); err != nil { // whole numbers as integers, as the API server has them
		return []string{err.Error()}
	}
	if definition, found := custom[kindOf(content)]; found {
		return definition.complaints(content)
	}
	object, _, err := decoder.Decode(text, nil, nil)
	if err != nil {
		return []string{err.Error()}
	}
	said := []string{}
	for _, complaint := range validate(object) {
		said = append(said, complaint.Error())
	}
	return said
}

func validate(object runtime.Object) field.ErrorList {
	switch object := object.(type) {
	case *apps.Deployment:
		options := pod.GetValidationOptionsFromPodTemplate(&object.Spec.Template, nil)
		return appsvalidation.ValidateDeployment(object, options)
	case *core.Service:
		if object.Spec.ClusterIP == core.ClusterIPNone { // the API server fills in the second form of it
			object.Spec.ClusterIPs = []string{core.ClusterIPNone}
		}
		return corevalidation.ValidateServiceCreate(object)
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(object)
	case *core.ResourceQuota:
		return corevalidation.ValidateResourceQuota(object)
	case *autoscaling.HorizontalPodAutoscaler:
		options := autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{}
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(object, options)
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(object, policyvalidation.PodDisruptionBudgetValidationOptions{})
	}
	return field.ErrorList{field.Invalid(field.NewPath("kind"), fmt.Sprintf("%T", object), "this oracle has no validation for it")}
}
