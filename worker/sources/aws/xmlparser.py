"""XML answers of the ec2 and query protocols, parsed by walking the answer instead of the model.

botocore asks for every declared member of every structure (340,000 look-ups for 1,000 instances, most
of them absent) and gathers children in a dict first. Here a shape becomes a table from tag to member once, and
each element of the answer is read once. Only structures and lists in the body take this road; errors, metadata and
whatever a shape says that is unusual go through botocore's own methods. The result is the same, in the answer's
order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.parsers import EC2QueryParser, QueryParser, ResponseParserFactory

Read = Callable[[Any], Any]  # an element → its value
Member = tuple[str, Read, bool]  # name, how to read one element, whether elements repeat


class _Walker:
    """Mixed into botocore's parsers for XML. Stateless but for what it learnt about shapes."""

    _timestamp_parser: Callable[[str], Any]
    _blob_parser: Callable[[str], Any]

    def __init__(self, **defaults: Any) -> None:
        super().__init__(**defaults)
        # The shape is kept beside its reader, so that its id stays its own.
        self._readers: dict[int, tuple[Any, Read]] = {}

    def _handle_structure(self, shape: Any, node: Any) -> Any:
        if isinstance(node, list) or not _plain(shape):
            return super()._handle_structure(shape, node)  # type: ignore[misc]
        return self._reader(shape)(node)

    def _reader(self, shape: Any) -> Read:
        if found := self._readers.get(id(shape)):
            return found[1]
        made = self._made(shape)
        self._readers[id(shape)] = (shape, made)
        return made

    def _made(self, shape: Any) -> Read:
        """How to read an element of a shape; members of structures are worked out when first met."""
        match shape.type_name:
            case "structure" if _plain(shape):
                return self._structure(shape)
            case "list" if not shape.serialization.get("flattened"):
                element = self._reader(shape.member)
                return lambda node: [element(child) for child in node]
            case "string" | "character":
                return lambda node: node.text or ""
            case "boolean":
                return lambda node: node.text == "true"
            case "integer" | "long":
                return lambda node: int(node.text or "")
            case "float" | "double":
                return lambda node: float(node.text or "")
            case "timestamp":
                return lambda node: self._timestamp_parser(node.text or "")
            case _:
                return lambda node: self._parse_shape(shape, node)  # type: ignore[attr-defined]

    def _structure(self, shape: Any) -> Read:
        members: dict[str, Member] = {}

        def read(node: Any) -> dict[str, Any]:
            if not members:
                members.update(self._members(shape))
            found: dict[str, Any] = {}
            for child in node:
                tag = child.tag
                member = members.get(tag)
                if member is None:
                    # The namespace is the answer's own: servers write others than the model's.
                    member = members.get(tag.rpartition("}")[2])
                    if member is None:
                        continue
                    members[tag] = member
                name, element, repeats = member
                if repeats:
                    found.setdefault(name, []).append(element(child))
                else:
                    found[name] = element(child)
            return found

        return read

    def _members(self, shape: Any) -> dict[str, Member]:
        members: dict[str, Member] = {}
        for name, member in shape.members.items():
            tag = self._member_key_name(member, name)  # type: ignore[attr-defined]
            repeats = member.type_name == "list" and bool(member.serialization.get("flattened"))
            members[tag] = (name, self._reader(member.member if repeats else member), repeats)
        return members


def _plain(shape: Any) -> bool:
    """Whether nothing about a structure needs more than its child elements."""
    if shape.is_tagged_union or shape.metadata.get("exception"):
        return False
    unusual = {"location", "xmlAttribute", "eventheader", "eventpayload"}
    return all(
        not unusual & set(m.serialization) and not _flat_map(m) for m in shape.members.values()
    )


def _flat_map(shape: Any) -> bool:
    """Repeated key and value pairs without an element around them: botocore gathers those."""
    return shape.type_name == "map" and bool(shape.serialization.get("flattened"))


class _Ec2(_Walker, EC2QueryParser):
    pass


class _Query(_Walker, QueryParser):
    pass


class Parsers(ResponseParserFactory):
    """Our parsers where there are some, one for all answers; botocore's for every other protocol."""

    def __init__(self, **defaults: Any) -> None:
        super().__init__()
        self.set_parser_defaults(**defaults)
        self._ours = {"ec2": _Ec2(**defaults), "query": _Query(**defaults)}

    def create_parser(self, protocol_name: str) -> Any:
        return self._ours.get(protocol_name) or super().create_parser(protocol_name)
