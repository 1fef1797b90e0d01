// Runs llama.cpp (npm package node-llama-cpp, found in the folder that NODE_LLAMA_CPP names) on one GGUF file.
// node llama_cpp.mjs JOB ANSWER: reads a JSON job, writes a JSON answer.
//   {model, tokenize: [{text, special}], ends: [id], logits: [[id]], greedy: [{ids, most}], cost: [[id]]}
//   tokenize → ids of each text; ends → whether llama.cpp ends an answer at the token; logits → those after the last token;
//   greedy → likeliest tokens up to an end or `most`; cost → sum of -log p over all tokens after the first.
import {readFileSync, writeFileSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const {getLlama} = await import(pathToFileURL(join(process.env.NODE_LLAMA_CPP, "dist", "index.js")).href);
const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
// One thread: two that wait for each other on a busy machine take a hundred times as long.
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 1});
const model = await llama.loadModel({modelPath: job.model, gpuLayers: 0});
const context = await model.createContext({
    contextSize: 2048, batchSize: 512, sequences: 1, threads: 1, flashAttention: false,
    experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"
});
const sequence = context.getSequence();

async function evaluate(ids, wanted) {
    return await sequence.controlledEvaluate(ids.map((id, place) => wanted(place) ? [id, {generateNext: wanted(place)}] : id));
}

async function logits(ids) {
    await sequence.clearHistory();
    const found = await evaluate(ids, (place) => place === ids.length - 1 ? {logits: true} : undefined);
    const values = new Array(found.at(-1).next.logits.size);
    for (const [token, value] of found.at(-1).next.logits) values[token] = value;
    return values;
}

async function greedy({ids, most}) {
    await sequence.clearHistory();
    const answer = [];
    let input = ids;
    while (answer.length < most) {
        const last = input.length - 1;
        const found = await evaluate(input, (place) => place === last ? {token: true, options: {temperature: 0}} : undefined);
        const token = found[last].next.token;
        if (model.isEogToken(token)) return {ids: answer, end: token};
        answer.push(token);
        input = [token];
    }
    return {ids: answer, end: null};
}

async function cost(ids) {
    await sequence.clearHistory();
    const wanted = (place) => place === ids.length - 1 ? undefined
        : {logits: true};  // the package's totalLogitWeight counts only what its sampler would keep
    const found = await evaluate(ids, wanted);
    let sum = 0;
    for (let place = 0; place < ids.length - 1; place++) {
        const all = found[place].next.logits;
        let most = -Infinity, weight = 0;
        for (const value of all.values()) most = Math.max(most, value);
        for (const value of all.values()) weight += Math.exp(value - most);
        sum += most + Math.log(weight) - all.get(ids[place + 1]);
    }
    return sum;
}

async function each(items, work) {
    const answers = [];
    for (const item of items ?? []) answers.push(await work(item));
    return answers;
}

const answer = {
    release: llama.llamaCppRelease?.release,
    tokenize: (job.tokenize ?? []).map(({text, special}) => model.tokenize(text, special)),
    ends: (job.ends ?? []).map((id) => model.isEogToken(id)),
    logits: await each(job.logits, logits),
    greedy: await each(job.greedy, greedy),
    cost: await each(job.cost, cost)
};
writeFileSync(process.argv[3], JSON.stringify(answer));
await llama.dispose();
