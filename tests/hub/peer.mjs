// npm @huggingface/hub against the test Hub: node peer.mjs PACKAGE_FOLDER HUB_URL REPO FOLDER USE_XET
// Uploads FOLDER as one commit and as a pull request, downloads everything there is, and prints {path: sha256} of main.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, hubUrl, repo, folder, xet] = process.argv.slice(2);
const { commit, downloadFile, listFiles, uploadFiles, whoAmI } = createRequire(join(packages, "x.js"))("@huggingface/hub");
const common = { hubUrl, repo, accessToken: "hf_alice", useXet: xet === "xet" };

const me = await whoAmI({ hubUrl, accessToken: common.accessToken });
if (me.name !== "alice") throw new Error(`whoAmI says ${me.name}`);
const files = readdirSync(folder).map((path) => ({ path, content: new Blob([readFileSync(join(folder, path))]) }));
await uploadFiles({ ...common, files, commitTitle: "From npm" });
const proposed = [{ operation: "addOrUpdate", path: "proposed.txt", content: new Blob(["a proposal"]) }];
await commit({ ...common, title: "Proposed from npm", operations: proposed, isPullRequest: true });

const found = {};
for await (const { type, path } of listFiles({ ...common, recursive: true })) {
  if (type !== "file") continue;
  const blob = await downloadFile({ ...common, path, xet: common.useXet });
  found[path] = createHash("sha256").update(Buffer.from(await blob.arrayBuffer())).digest("hex");
}
console.log(JSON.stringify(found));
