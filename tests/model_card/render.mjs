// Renders the Markdown documents of a JSON file (its path in DOCUMENTS) with remark and with marked, as JSON on stdout.
// Reads from stdin, so that Node finds the packages in the working directory.
import fs from 'node:fs';
import { marked } from 'marked';
import rehypeRaw from 'rehype-raw';
import rehypeStringify from 'rehype-stringify';
import remarkFrontmatter from 'remark-frontmatter';
import remarkGfm from 'remark-gfm';
import remarkMath from 'remark-math';
import remarkParse from 'remark-parse';
import remarkRehype from 'remark-rehype';
import { unified } from 'unified';

const remark = unified()
  .use(remarkParse)
  .use(remarkFrontmatter)
  .use(remarkGfm)
  .use(remarkMath)
  .use(remarkRehype, { allowDangerousHtml: true })
  .use(rehypeRaw)
  .use(rehypeStringify);
const documents = JSON.parse(fs.readFileSync(process.env.DOCUMENTS, 'utf8'));
const found = {
  remark: documents.map((text) => String(remark.processSync(text))),
  marked: documents.map((text) => marked.parse(text, { gfm: true })),
};
process.stdout.write(JSON.stringify(found));
