// The official TypeScript SDK as a client of the aggregated endpoint, in front of the real servers "everything",
// "memory" and "thinking". Arguments: http or sse, the URL, the worker's token. HAL9000_TEST_NODE: where the SDK is.
// Exits with 0 if all was as it should be.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.HAL9000_TEST_NODE}/package.json`);
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { SSEClientTransport } = require('@modelcontextprotocol/sdk/client/sse.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');
const types = require('@modelcontextprotocol/sdk/types.js');

const [kind, url, token] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
const transport = kind === 'sse'
  ? new SSEClientTransport(new URL(url), { requestInit: { headers }, eventSourceInit: {
    fetch: (to, init) => fetch(to, { ...init, headers: { ...init.headers, ...headers } }) } })
  : new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });

const client = new Client({ name: 'sdk', version: '1' },
  { capabilities: { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } } });
client.setRequestHandler(types.CreateMessageRequestSchema, () => (
  { model: 'none', role: 'assistant', content: { type: 'text', text: 'sampled here' } }));
client.setRequestHandler(types.ElicitRequestSchema, () => ({ action: 'decline' }));
client.setRequestHandler(types.ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///workspace', name: 'w' }] }));

await client.connect(transport);
assert.equal(client.getServerVersion().name, 'hal9000');

const { tools } = await client.listTools();
const names = tools.map((tool) => tool.name);
for (const name of ['everything__echo', 'memory__list_projects', 'thinking__sequentialthinking']) {
  assert.ok(names.includes(name), `${name} is not in ${names}`);
}

const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
const [echo, projects, thought] = await Promise.all([
  call('everything__echo', { message: 'through all' }),
  call('memory__list_projects', {}),
  call('thinking__sequentialthinking', { thought: 't', thoughtNumber: 1, totalThoughts: 2, nextThoughtNeeded: true }),
]);
assert.match(echo.content[0].text, /through all/);
assert.ok(!projects.isError, JSON.stringify(projects));
assert.equal(JSON.parse(thought.content[0].text).thoughtHistoryLength, 1);

let steps = 0;
await call('everything__trigger-long-running-operation', { duration: 0.2, steps: 4 }, { onprogress: () => { ++steps; } });
// The SDK loses the last one where it comes in one piece with the answer.
assert.ok(steps >= 3, `${steps} steps`);
const sampled = await call('everything__trigger-sampling-request', { prompt: 'p', maxTokens: 5 });
assert.match(JSON.stringify(sampled), /sampled here/);

const { prompts } = await client.listPrompts();
assert.ok(prompts.some((prompt) => prompt.name === 'everything__simple-prompt'), JSON.stringify(prompts));
const prompt = await client.getPrompt({ name: 'everything__simple-prompt' });
assert.ok(prompt.messages.length > 0);
const completed = await client.complete({ ref: { type: 'ref/prompt', name: 'everything__completable-prompt' },
  argument: { name: 'department', value: 'E' } });
assert.ok(completed.completion.values.length > 0);

const { resources } = await client.listResources();
const read = await client.readResource({ uri: resources[0].uri });
assert.equal(read.contents[0].uri, resources[0].uri);
const { resourceTemplates } = await client.listResourceTemplates();
assert.ok(resourceTemplates.length > 0);
await client.subscribeResource({ uri: resources[0].uri });
await client.unsubscribeResource({ uri: resources[0].uri });

await client.setLoggingLevel('error');
await client.ping();
const gone = new AbortController();
const hanging = call('everything__trigger-long-running-operation', { duration: 30, steps: 1 }, { signal: gone.signal });
setTimeout(() => gone.abort('enough'), 50);
await assert.rejects(hanging);
await assert.rejects(call('nobody__echo', {}), /Unknown tool/);

await client.close();
process.exit(0);
