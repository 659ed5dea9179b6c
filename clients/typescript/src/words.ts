import type { DescEnum } from "@bufbuild/protobuf";
import { Channel } from "./gen/aster/v1/common_pb.js";

/** The short word of an enum's value: STOP_REASON_END_TURN is "end_turn". Unset is "", an unknown value its number. */
export function word(schema: DescEnum, value: number): string {
  if (value === 0) {
    return "";
  }
  const name = schema.value[value]?.name;
  return name === undefined ? String(value) : name.slice(prefix(schema).length).toLowerCase();
}

/** A channel as a word or as the contract's number. */
export type ChannelName = "progress" | "control" | "monitor" | Channel;

const CHANNELS = { progress: Channel.PROGRESS, control: Channel.CONTROL, monitor: Channel.MONITOR };

export function channelNumbers(names: readonly ChannelName[] = []): Channel[] {
  return names.map((name) => (typeof name === "string" ? CHANNELS[name] : name));
}

// The first value is always <PREFIX>_UNSPECIFIED.
function prefix(schema: DescEnum): string {
  return (schema.values[0]?.name ?? "").replace(/UNSPECIFIED$/, "");
}
