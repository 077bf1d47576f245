"""Reads the SAM template: as CloudFormation gets it, and as what CloudFormation here ignores."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms. A loader of its own, so as not to change PyYAML's for all."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    """`!Ref x` and `!Condition x` are `{Ref: x}`; any other `!Name x` is `{Fn::Name: x}`."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
# A version is a date to YAML; CloudFormation wants the text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(path: Path) -> dict[str, Any]:
    template = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - derives from SafeLoader
    if not isinstance(template, dict) or "Resources" not in template:
        raise ValueError(f"{path} is not a template")
    return template


def local_files(template: dict[str, Any], folder: Path, packages: Path) -> dict[str, Path]:
    """The files that the template names, by the name in the template.

    Code is looked up in `packages` by its file name, a definition relative to the template.
    """
    files: dict[str, Path] = {}
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        code, definition = properties.get("CodeUri"), properties.get("DefinitionUri")
        if resource["Type"] == "AWS::Serverless::Function" and _is_local(code):
            files[code] = packages / Path(code).name
        if resource["Type"] == "AWS::Serverless::StateMachine" and _is_local(definition):
            files[definition] = folder / definition
    missing = sorted(str(path) for path in files.values() if not path.is_file())
    if missing:
        raise FileNotFoundError(f"missing: {', '.join(missing)}")
    return files


def _is_local(uri: Any) -> bool:
    return isinstance(uri, str) and not uri.startswith("s3://")


def packaged(template: dict[str, Any], uploaded: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """The template with each local file replaced by the (bucket, key) that it was uploaded to."""
    result = copy.deepcopy(template)
    for resource in result["Resources"].values():
        properties = resource.get("Properties", {})
        for member in ("CodeUri", "DefinitionUri"):
            location = uploaded.get(properties.get(member)) if _is_local(properties.get(member)) else None
            if location:
                properties[member] = {"Bucket": location[0], "Key": location[1]}
    return result


def parameters(template: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """The value of each parameter. Raises when one is missing or unknown, which CloudFormation here would not."""
    declared = template.get("Parameters", {})
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise ValueError(f"the template has no parameter {', '.join(unknown)}")
    values = {name: given.get(name, declaration.get("Default")) for name, declaration in declared.items()}
    unset = sorted(name for name, value in values.items() if value is None)
    if unset:
        raise ValueError(f"no value for {', '.join(unset)}")
    return values


class Values:
    """What the template's functions stand for, as far as the settings applied after a deploy use them."""

    def __init__(self, source: dict[str, Any], values: dict[str, Any]) -> None:
        self._conditions = source.get("Conditions", {})
        self._mappings = source.get("Mappings", {})
        self._values = values

    def of(self, node: Any) -> Any:
        """Replaces Ref, If and FindInMap. What else there is, is not needed yet, and refused rather than passed on."""
        if isinstance(node, list):
            return [self.of(item) for item in node]
        if not isinstance(node, dict):
            return node
        if set(node) == {"Ref"}:
            return None if node["Ref"] == "AWS::NoValue" else self._values[node["Ref"]]
        if set(node) == {"Fn::If"}:
            name, then, otherwise = node["Fn::If"]
            return self.of(then if self.holds(self._conditions[name]) else otherwise)
        if set(node) == {"Fn::FindInMap"}:
            return self._cell(*(str(self.of(item)) for item in node["Fn::FindInMap"]))
        if any(key.startswith("Fn::") for key in node):
            raise ValueError(f"{node} is not resolved here")
        return {key: value for key, value in ((key, self.of(item)) for key, item in node.items()) if value is not None}

    def _cell(self, table: str, row: str, column: str) -> Any:
        try:
            return self._mappings[table][row][column]
        except KeyError as error:
            raise ValueError(f"the template's table {table} has no cell {row}, {column}") from error

    def holds(self, condition: Any) -> bool:
        """Whether a condition is true."""
        ((function, operand),) = condition.items()
        if function == "Fn::Equals":
            left, right = (str(self.of(item)) for item in operand)
            return left == right
        if function == "Fn::Not":
            return not self.holds(operand[0])
        if function in ("Fn::And", "Fn::Or"):
            return (all if function == "Fn::And" else any)(self.holds(item) for item in operand)
        if function == "Condition":
            return self.holds(self._conditions[operand])
        raise ValueError(f"{condition} is not resolved here")
