package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

type definition struct {
	schema     validation.SchemaCreateValidator
	structural *structuralschema.Structural
	rules      *cel.Validator
}

type definitions map[schema.GroupVersionKind]definition

func readDefinitions(paths []string) (definitions, error) {
	found := definitions{}
	for _, path := range paths {
		if err := found.read(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return found, nil
}

func (all definitions) read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	documents := yaml.NewYAMLOrJSONDecoder(file, 64<<10)
	for {
		var given apiextensionsv1.CustomResourceDefinition
		switch err := documents.Decode(&given); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case given.Kind != "CustomResourceDefinition":
			continue
		}
		if err := all.add(&given); err != nil {
			return err
		}
	}
}

func (all definitions) add(given *apiextensionsv1.CustomResourceDefinition) error {
	for _, version := range given.Spec.Versions {
		var inner apiextensions.JSONSchemaProps
		err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &inner, nil)
		if err != nil {
			return err
		}
		validator, _, err := validation.NewSchemaValidator(&inner)
		if err != nil {
			return err
		}
		structural, err := structuralschema.NewStructural(&inner)
		if err != nil {
			return err
		}
		kind := schema.GroupVersionKind{Group: given.Spec.Group, Version: version.Name, Kind: given.Spec.Names.Kind}
		all[kind] = definition{validator, structural, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
	}
	return nil
}

func kindOf(content map[string]any) schema.GroupVersionKind {
	object := unstructured.Unstructured{Object: content}
	return object.GroupVersionKind()
}

func (d definition) complaints(content map[string]any) []string {
	defaulting.Default(content, d.structural)
	object := unstructured.Unstructured{Object: content}
	errs := metavalidation.ValidateObjectMetaAccessor(&object, true, metavalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, validation.ValidateCustomResource(nil, content, d.schema)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, d.structural, content)...)
	if d.rules != nil {
		broken, _ := d.rules.Validate(context.Background(), nil, d.structural, content, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, broken...)
	}
	said := []string{}
	for _, err := range errs {
		said = append(said, err.Error())
	}
	track := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object.DeepCopy().Object, d.structural, true, track) {
		if !strings.HasPrefix(path, "metadata.") {
			said = append(said, "unknown field "+path)
		}
	}
	return said
}
