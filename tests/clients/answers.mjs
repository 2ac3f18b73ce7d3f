// Answers that are more than plain text, asked for as the documentation of Google's client shows.
import * as fs from 'node:fs';
import {GoogleGenAI, Type} from '@google/genai';
import {finished, report} from './scenarios.mjs';

const ai = new GoogleGenAI({});
const asking = (text) => ({contents: [{parts: [{text}], role: 'user'}]});
const name = {type: Type.STRING, description: 'Name of the recipe', nullable: false};
const recipe = {
  type: Type.OBJECT,
  properties: {
    recipeName: name,
    ingredients: {type: Type.ARRAY, items: {...name, description: 'Of it'}},
  },
  required: ['recipeName'],
};
const letter = 'A big letter A surrounded by animals starting with the A letter';

async function run(model, src, displayName) {
  const created = await ai.batches.create({model, src, config: {displayName}});
  return finished(ai, created);
}

await report({
  async structured() {
    const responseSchema = {type: Type.ARRAY, items: recipe};
    const config = {responseMimeType: 'application/json', responseSchema};
    return run('gemini-3.5-flash', [{...asking('List a few recipes.'), config}], 'structured');
  },

  async searched() {
    const src = [
      asking('Who won the euro 1998?'),
      {...asking('Who won the euro 2025?'), config: {tools: [{googleSearch: {}}]}},
    ];
    return run('gemini-3.5-flash', src, 'searched');
  },

  async drawn() {
    const config = {responseModalities: ['TEXT', 'IMAGE']};
    return run('gemini-3-pro-image-preview', [{...asking(letter), config}], 'drawn');
  },

  async drawnFromFile() {
    const generation_config = {responseModalities: ['TEXT', 'IMAGE']};
    const line = {key: 'request-1', request: {contents: asking(letter).contents, generation_config}};
    fs.writeFileSync('pictures.jsonl', JSON.stringify(line) + '\n');
    const uploaded = await ai.files.upload({file: 'pictures.jsonl', config: {mimeType: 'jsonl'}});
    const job = await run('gemini-3-pro-image-preview', uploaded.name, 'drawn from a file');
    await ai.files.download({file: job.dest.fileName, downloadPath: 'answers.jsonl'});
    return JSON.parse(fs.readFileSync('answers.jsonl', 'utf8'));
  },

  async live() {
    return ai.models.generateContent({
      model: 'gemini-2.5-flash-image', contents: letter,
      config: {imageConfig: {aspectRatio: '16:9', imageSize: '512'}},
    });
  },
});
