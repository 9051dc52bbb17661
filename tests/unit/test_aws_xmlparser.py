"""Our parser of XML answers gives what botocore's gives, for every operation of the services that it serves."""

from __future__ import annotations

import random
from xml.sax.saxutils import escape

import pytest
from botocore.parsers import ResponseParserFactory

from worker.sources.aws import shapes
from worker.sources.aws.values import timestamp
from worker.sources.aws.xmlparser import Parsers

SERVICES = ("ec2", "rds", "iam", "sns", "elbv2", "cloudformation", "autoscaling", "redshift")
SCALARS = {
    "boolean": ("true", "false"),
    "integer": ("0", "-17"),
    "long": ("9007199254740993",),
    "float": ("1.5",),
    "double": ("-0.25",),
    "timestamp": ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678Z"),
    "blob": ("aGVsbG8=",),
}


class Writer:
    """Makes an answer for a shape: each member there or not, lists of up to three elements."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def body(self, shape, depth=0):
        kind = shape.type_name
        if kind == "structure":
            if shape.is_tagged_union:
                members = [self.random.choice(list(shape.members.items()))]
            else:
                members = [
                    m for m in shape.members.items() if depth < 7 and self.random.random() < 0.7
                ]
            self.random.shuffle(members)
            return "".join(self.member(name, member, depth) for name, member in members)
        if kind == "list":
            tag = shape.member.serialization.get("name") or "member"
            return "".join(
                self.element(tag, shape.member, depth) for _ in range(self.random.randrange(4))
            )
        if kind == "map":
            return "".join(self.entry(shape, n, depth) for n in range(self.random.randrange(3)))
        return self.random.choice(SCALARS.get(kind, ("", "text", escape("a < é & b"))))

    def member(self, name, shape, depth):
        tag = shape.serialization.get("name") or name
        if not shape.serialization.get("flattened"):
            return self.element(tag, shape, depth)
        if shape.type_name == "map":
            return "".join(f"<{tag}>{self.pair(shape, n, depth)}</{tag}>" for n in range(2))
        tag = shape.member.serialization.get("name") or tag
        return "".join(
            self.element(tag, shape.member, depth) for _ in range(self.random.randrange(1, 4))
        )

    def element(self, tag, shape, depth):
        return f"<{tag}>{self.body(shape, depth + 1)}</{tag}>"

    def entry(self, shape, n, depth):
        return f"<entry>{self.pair(shape, n, depth)}</entry>"

    def pair(self, shape, n, depth):
        key = shape.key.serialization.get("name") or "key"
        value = shape.value.serialization.get("name") or "value"
        return f"<{key}>k{n}</{key}>{self.element(value, shape.value, depth)}"


def answer(shape, seed):
    wrapper = shape.serialization.get("resultWrapper")
    body = Writer(seed).body(shape)
    body = f"<{wrapper}>{body}</{wrapper}>" if wrapper else body
    metadata = (
        "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata><requestId>r</requestId>"
    )
    text = f'<Answer xmlns="http://example.com/{seed}">{body}{metadata}</Answer>'
    return {"body": text.encode(), "headers": {}, "status_code": 200}


@pytest.mark.parametrize("service", SERVICES)
def test_answers_are_parsed_as_botocore_parses_them(service):
    model = shapes.service(service)
    theirs = ResponseParserFactory()
    theirs.set_parser_defaults(timestamp_parser=timestamp)
    protocol = model.resolved_protocol
    oracle, ours = (
        theirs.create_parser(protocol),
        Parsers(timestamp_parser=timestamp).create_parser(protocol),
    )
    assert type(ours) is not type(oracle)
    sample = sorted(model.operation_names)[:: max(1, len(model.operation_names) // 40)]
    filled = 0
    for seed, name in enumerate(sample):
        shape = model.operation_model(name).output_shape
        if shape is None:
            continue
        response = answer(shape, seed)
        parsed = ours.parse(response, shape)
        assert parsed == oracle.parse(response, shape), name
        filled += len(parsed) > 1
    assert filled


@pytest.mark.parametrize("protocol", ["ec2", "query"])
def test_errors_are_parsed_as_botocore_parses_them(protocol):
    body = b"<Response><Errors><Error><Code>X</Code><Message>m</Message></Error></Errors><RequestID>r</RequestID></Response>"
    if protocol == "query":
        body = b"<ErrorResponse><Error><Type>Sender</Type><Code>X</Code><Message>m</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    response = {"body": body, "headers": {}, "status_code": 400}
    oracle, ours = (
        ResponseParserFactory().create_parser(protocol),
        Parsers().create_parser(protocol),
    )
    found = ours.parse(response, None)
    assert found == oracle.parse(response, None)
    assert found["Error"]["Code"] == "X"


def test_other_protocols_are_botocores_own():
    for protocol in ("json", "rest-json", "rest-xml"):
        assert type(Parsers().create_parser(protocol)) is type(
            ResponseParserFactory().create_parser(protocol)
        )
