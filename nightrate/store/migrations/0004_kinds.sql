-- A batch may ask for embeddings, and may be written in another dialect.

ALTER TABLE batch ADD COLUMN method TEXT NOT NULL DEFAULT 'generate';
ALTER TABLE batch ADD COLUMN dialect TEXT NOT NULL DEFAULT 'gemini';
