"""google.api.field_behavior of fields, whatever pool they live in."""

from functools import lru_cache

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

REQUIRED: int = field_behavior_pb2.REQUIRED
OUTPUT_ONLY: int = field_behavior_pb2.OUTPUT_ONLY
INPUT_ONLY: int = field_behavior_pb2.INPUT_ONLY


@lru_cache(maxsize=4096)
def behaviour_of(field: FieldDescriptor) -> frozenset[int]:
    """What a field is marked with."""
    options = descriptor_pb2.FieldOptions.FromString(field.GetOptions().SerializeToString())
    return frozenset(options.Extensions[field_behavior_pb2.field_behavior])


@lru_cache(maxsize=1024)
def within(kind: Descriptor) -> frozenset[str]:
    """Full names of a message and of every message that can be inside it."""
    found: dict[str, Descriptor] = {}
    waiting = [kind]
    while waiting:
        each = waiting.pop()
        if each.full_name not in found:
            found[each.full_name] = each
            waiting += [field.message_type for field in each.fields if field.message_type is not None]
    return frozenset(found)
