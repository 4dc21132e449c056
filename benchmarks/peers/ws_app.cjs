// A relay on Node's `ws`: node ws_app.cjs PORT REDIS_URL
// What it needs of Redis is a subscription, so it reads that by itself.
"use strict";

const net = require("node:net");
const { WebSocketServer, WebSocket } = require("ws");

const port = Number(process.argv[2]);
const redisUrl = new URL(process.argv[3]);
const PREFIX = "channel:";
const HEARTBEAT_MS = 25_000;
const clients = new Map();

// `ws` compresses nothing unless it is told to; ours does not either.
const server = new WebSocketServer({ host: "127.0.0.1", port, backlog: 4096 });

server.on("connection", (client, request) => {
  const company = request.url.slice(request.url.lastIndexOf("/") + 1);
  let group = clients.get(company);
  if (!group) clients.set(company, (group = new Set()));
  group.add(client);
  client.on("error", () => client.terminate());
  client.on("close", () => group.delete(client));
});

setInterval(() => {
  for (const client of server.clients) client.ping();
}, HEARTBEAT_MS);

function pass(channel, message) {
  const group = clients.get(channel.slice(PREFIX.length));
  if (!group) return;
  for (const client of group) {
    if (client.readyState === WebSocket.OPEN) client.send(message);
  }
}

// An array of bulk strings: *4 $8 pmessage $… pattern $… channel $… message.
function* messages(buffer) {
  let at = 0;
  for (;;) {
    const began = at;
    const parts = [];
    let end = buffer.indexOf("\r\n", at);
    if (end < 0) return began;
    if (buffer[at] === 0x2b) {
      at = end + 2; // +OK, the answer to AUTH
      continue;
    }
    const number = Number(buffer.toString("latin1", at + 1, end));
    at = end + 2;
    for (let i = 0; i < number; i++) {
      end = buffer.indexOf("\r\n", at);
      if (end < 0) return began;
      if (buffer[at] === 0x3a) {
        at = end + 2; // a number, in the answer to PSUBSCRIBE
        continue;
      }
      const length = Number(buffer.toString("latin1", at + 1, end));
      at = end + 2;
      if (buffer.length < at + length + 2) return began;
      parts.push(buffer.subarray(at, at + length));
      at += length + 2;
    }
    if (parts.length === 4) yield [parts[2].toString(), parts[3].toString()];
  }
}

let rest = Buffer.alloc(0);
const redis = net.connect(Number(redisUrl.port), redisUrl.hostname, () => {
  if (redisUrl.password) redis.write(`AUTH ${redisUrl.password}\r\n`);
  redis.write(`PSUBSCRIBE ${PREFIX}*\r\n`);
});
redis.on("data", (data) => {
  rest = rest.length ? Buffer.concat([rest, data]) : data;
  const found = messages(rest);
  for (;;) {
    const { value, done } = found.next();
    if (done) {
      rest = rest.subarray(value);
      return;
    }
    pass(...value);
  }
});
