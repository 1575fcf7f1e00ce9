// A processor in another language, made from docs/processors.md and processor.proto alone.
// Its queues are files of lines, named by the absolute path in `queue`; partition 0, one event a line.
"use strict";
const fs = require("fs");

// Protocol Buffers, as far as needed: fields are [number, value], numbers as BigInt, the rest as Buffer.
function decode(buffer) {
  const fields = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const octet = buffer[at++];
      value |= BigInt(octet & 0x7f) << shift;
      if (octet < 0x80) return value;
    }
  };
  while (at < buffer.length) {
    const key = Number(varint());
    const type = key & 7;
    if (type === 0) fields.push([key >> 3, varint()]);
    else if (type === 1) fields.push([key >> 3, buffer.subarray(at, (at += 8))]);
    else if (type === 5) fields.push([key >> 3, buffer.subarray(at, (at += 4))]);
    else {
      const size = Number(varint());
      fields.push([key >> 3, buffer.subarray(at, (at += size))]);
    }
  }
  return fields;
}
const all = (fields, number) => fields.filter(([n]) => n === number).map(([, value]) => value);
const text = (fields, number) => String(all(fields, number)[0] ?? "");
function varint(value) {
  const octets = [];
  for (value = BigInt(value); value > 0x7fn; value >>= 7n) octets.push(Number(value & 0x7fn) | 0x80);
  return Buffer.from([...octets, Number(value)]);
}
function field(number, value) {
  if (typeof value === "number" || typeof value === "bigint") {
    return Buffer.concat([varint(number << 3), varint(value)]);
  }
  const octets = Buffer.from(value);
  return Buffer.concat([varint((number << 3) | 2), varint(octets.length), octets]);
}
const message = (...fields) => Buffer.concat(fields);

function report(number, body) {
  const payload = field(number, body);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(payload.length);
  fs.writeSync(1, Buffer.concat([length, payload]));
}

const processors = new Map();
function create(fields) {
  const one = {
    name: text(fields, 1),
    source: text(decode(all(fields, 3)[0]), 7),
    destination: text(decode(all(fields, 4)[0]), 7),
    journal: text(fields, 8),
    paused: (all(fields, 11)[0] ?? 0n) === 1n,
    records: 0,
  };
  // the position is known from what arrived: one line for each event
  one.position = fs.existsSync(one.destination) ? lines(one.destination).length : 0;
  fs.appendFileSync(one.journal, "");
  processors.set(one.name, one);
  return one;
}
const lines = (path) => fs.readFileSync(path, "utf8").split("\n").slice(0, -1);
const ready = (one) => report(2, message(field(1, one.name), field(2, "exactly-once")));
function carry() {
  for (const one of processors.values()) {
    if (one.paused) continue;
    if (!fs.existsSync(one.source)) {
      report(4, message(field(1, one.name), field(2, Date.now()), field(3, `no file ${one.source}`)));
      continue;
    }
    const events = lines(one.source).slice(one.position);
    if (!events.length) continue;
    fs.appendFileSync(one.destination, events.map((event) => event + "\n").join(""));
    one.position += events.length;
    one.records += events.length;
    progress(one);
  }
}
function progress(one) {
  report(3, message(field(1, one.name), field(2, one.records), field(9, one.paused ? 1 : 0)));
}

function follow(kind, body) {
  if (kind === 2) return Number(all(body, 1)[0] ?? 0) === 1 ? "" : "this processor speaks version 1";
  if (kind === 3) return ready(create(body)), "";
  if (kind === 4) return ready(create(decode(all(body, 1)[0]))), "";
  const one = processors.get(text(body, 1));
  if (!one) return kind > 6 ? "" : "no such processor here";
  if (kind === 5 || kind === 6) {
    one.paused = kind === 5;
    ready(one);
  } else {
    processors.delete(one.name);
    if (kind === 7) fs.rmSync(one.journal, { force: true });
  }
  return "";
}

let held = Buffer.alloc(0);
process.stdin.on("data", (octets) => {
  held = Buffer.concat([held, octets]);
  while (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) {
    const end = 4 + held.readUInt32BE(0);
    const order = decode(held.subarray(4, end));
    const id = all(order, 1)[0];
    const [kind, body] = order.find(([number]) => number > 1);
    const error = follow(kind, decode(body));
    report(1, message(field(1, id), field(2, error)));
    held = held.subarray(end);
  }
});
process.stdin.on("end", () => process.exit(0));
setInterval(carry, 50);
setInterval(() => [...processors.values()].forEach(progress), 5000);
