/** The name service of networks: names of containers, addresses, what is asked upstream, over UDP and TCP. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { after, before, test, type TestContext } from 'node:test';
import { locateNative } from '../../native/locate.ts';
import type { Attachment, AttachRequest } from '../../src/runtime/network/contract.ts';
import { enter, inNamespaces, openRoot, ready, requestOf } from './network-fixture.ts';

/** Asks for one record; prints the code of the answer and what is in it. */
const QUERY = `
import socket, struct, sys
kind, name, qtype = sys.argv[1], sys.argv[2], {'A': 1, 'PTR': 12, 'TXT': 16, 'AAAA': 28}[sys.argv[3]]
query = struct.pack('>HHHHHH', 0x1234, 0x0100, 1, 0, 0, 0)
query += b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\\0' + struct.pack('>HH', qtype, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
s.settimeout(6)
s.connect(('127.0.0.11', 53))
if kind == 'tcp':
    s.sendall(struct.pack('>H', len(query)) + query)
    head = s.recv(2, socket.MSG_WAITALL)
    answer = s.recv(struct.unpack('>H', head)[0], socket.MSG_WAITALL)
else:
    s.send(query)
    answer = s.recv(4096)
ident, flags, _, count, _, _ = struct.unpack('>HHHHHH', answer[:12])
assert ident == 0x1234 and flags & 0x8000
at, found = len(query), []
for _ in range(count):
    at += 2
    rtype, _, _, size = struct.unpack('>HHIH', answer[at:at + 10])
    data = answer[at + 10:at + 10 + size]
    at += 10 + size
    if rtype == 1: found.append(socket.inet_ntop(socket.AF_INET, data))
    elif rtype == 28: found.append(socket.inet_ntop(socket.AF_INET6, data))
    elif rtype == 12:
        parts, i = [], 0
        while data[i]: parts.append(data[i + 1:i + 1 + data[i]].decode()); i += 1 + data[i]
        found.append('.'.join(parts))
    else: found.append('%d bytes' % size)
print(flags & 15, *sorted(found))
`;

/** A server of the host: example.test is 203.0.113.7, all else does not exist; TXT is too long for a datagram. */
const UPSTREAM = `
import socket, struct, sys, threading, time
def reply(q, stream):
    end = 12
    while q[end]: end += 1 + q[end]
    question = q[12:end + 5]
    if b'example' not in question: return q[:2] + b'\\x81\\x83' + q[4:6] + bytes(6) + question
    if question[-3] == 16:
        if not stream: return q[:2] + b'\\x83\\x80' + q[4:6] + bytes(6) + question
        text = b''.join(bytes([200]) + b'x' * 200 for _ in range(200))
        return q[:2] + b'\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0' + question + b'\\xc0\\x0c\\0\\x10\\0\\1\\0\\0\\0\\5' + struct.pack('>H', len(text)) + text
    return q[:2] + b'\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0' + question + b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4' + bytes([203, 0, 113, 7])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.53', 53))
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind(('127.0.0.53', 53)); t.listen()
def streams():
    while True:
        c, _ = t.accept()
        size = struct.unpack('>H', c.recv(2, socket.MSG_WAITALL))[0]
        answer = reply(c.recv(size, socket.MSG_WAITALL), True)
        c.sendall(struct.pack('>H', len(answer)) + answer); c.close()
threading.Thread(target=streams, daemon=True).start()
print('ready', flush=True)
while True:
    q, peer = u.recvfrom(4096)
    right = reply(q, False)
    if b'forged' in q:
        u.sendto(bytes([q[0] ^ 1]) + right[1:-4] + bytes([198, 51, 100, 1]), peer)
        u.sendto(right.replace(b'forged', b'forgot')[:-4] + bytes([198, 51, 100, 2]), peer)
        time.sleep(0.05)
    u.sendto(right, peer)
`;

async function serve(t: TestContext, { nameService }: Attachment): Promise<void> {
  assert.ok(nameService !== undefined, 'resolv.conf leads to the name service');
  const { netns, config } = nameService;
  const child = spawn(locateNative('tsbuild-launch'), ['names', netns, config], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.stdin.end());
  await ready(child);
}

function query({ netns }: Attachment, name: string, type = 'A', kind: 'udp' | 'tcp' = 'udp'): string {
  const [program = '', ...args] = enter(netns, ['python3', '-IS', '-c', QUERY, kind, name, type]);
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : stderr;
}

inNamespaces(import.meta.url, () => {
  let upstream: ReturnType<typeof spawn>;
  before(async () => {
    upstream = spawn('python3', ['-IS', '-c', UPSTREAM], { stdio: ['ignore', 'pipe', 'inherit'] });
    await ready(upstream);
  });
  after(() => upstream.kill('SIGKILL'));

  test('names, aliases, short ids and addresses of the same network, over UDP and TCP', async (t) => {
    using place = openRoot('nameserver 127.0.0.53\nsearch example.org\noptions ndots:2\n');
    const { networks } = place;
    await networks.create({ name: 'front', ipv6: true });
    await networks.create({ name: 'back' });
    const a = await networks.attach(requestOf('a', ['front'], { name: 'web' }));
    const b = await networks.attach({
      ...requestOf('b', ['front', 'back'], { name: 'db' }),
      endpoints: [
        { network: 'front', aliases: ['store', 'shared'] },
        { network: 'back', aliases: [] },
      ],
    });
    const c = await networks.attach({
      ...requestOf('c', [], { name: 'hidden' }),
      endpoints: [{ network: 'back', aliases: ['shared'] }],
    });
    assert.match(a.resolvConf, /^nameserver 127\.0\.0\.11\nsearch example\.org\noptions ndots:2\n$/);
    await serve(t, a);
    await serve(t, b);
    const [front, back] = [b.endpoints[0]?.ip ?? '', b.endpoints[1]?.ip ?? ''];
    for (const kind of ['udp', 'tcp'] as const) {
      for (const name of ['db', 'DB', 'store', 'bbbbbbbbbbbb', 'db.front'])
        assert.equal(query(a, name, 'A', kind), `0 ${front}`, name);
      assert.equal(query(a, 'db', 'AAAA', kind), `0 ${b.endpoints[0]?.ip6 ?? ''}`);
    }
    assert.equal(query(a, 'db', 'TXT'), '0', 'the name is there, such a record is not');
    assert.equal(query(a, 'hidden'), '3', 'of another network');
    assert.equal(query(b, 'hidden'), `0 ${c.endpoints[0]?.ip ?? ''}`);
    assert.equal(query(b, 'hidden', 'AAAA'), '0');
    assert.equal(query(b, 'shared'), `0 ${[front, c.endpoints[0]?.ip ?? ''].toSorted().join(' ')}`);
    assert.equal(query(a, front.split('.').toReversed().join('.').concat('.in-addr.arpa'), 'PTR'), '0 db');
    assert.notEqual(back, '');
    // A change is seen at the next question.
    await networks.rename(c.containerId, 'seen');
    await networks.connect(c.containerId, { network: 'front', aliases: ['late'] });
    assert.match(query(a, 'late'), /^0 10\./);
    assert.match(query(a, 'seen'), /^0 10\./);
    await networks.detach(c.containerId);
    assert.equal(query(a, 'seen'), '3');
    for (const { containerId } of [a, b]) await networks.detach(containerId);
  });

  test("what no container has is asked of the host's servers, from the host's network", async (t) => {
    using place = openRoot('nameserver 127.0.0.53\n');
    const { networks } = place;
    // Upstream is the host's loopback: the name service answers on the default network, too.
    const a = await networks.attach(requestOf('a', ['bridge']));
    await serve(t, a);
    assert.equal(query(a, 'www.example.test'), '0 203.0.113.7');
    assert.equal(query(a, 'www.example.test', 'A', 'tcp'), '0 203.0.113.7');
    assert.equal(query(a, 'nowhere.invalid'), '3');
    // Answers with another id, and to another question, come first.
    assert.equal(query(a, 'forged.example.test'), '0 203.0.113.7');
    assert.equal(query(a, 'www.example.test', 'TXT', 'tcp'), '0 40200 bytes');
    await networks.detach(a.containerId);
  });

  test('a server that does not answer costs time, a missing one SERVFAIL', async (t) => {
    using place = openRoot('');
    const { networks } = place;
    const silent = (servers: readonly string[]): Pick<AttachRequest, 'dns'> => ({
      dns: { servers, search: [], options: [] },
    });
    const a = await networks.attach(requestOf('a', ['bridge'], silent(['127.0.0.9', '127.0.0.53'])));
    await serve(t, a);
    assert.equal(query(a, 'www.example.test'), '0 203.0.113.7');
    assert.equal(query(a, 'www.example.test', 'A', 'tcp'), '0 203.0.113.7');
    await networks.detach(a.containerId);
    const b = await networks.attach(requestOf('b', ['bridge'], silent(['127.0.0.9'])));
    await serve(t, b);
    assert.equal(query(b, 'www.example.test'), '2');
    assert.equal(query(b, 'www.example.test', 'A', 'tcp'), '2');
    await networks.detach(b.containerId);
  });
});
