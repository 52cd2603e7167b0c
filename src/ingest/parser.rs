//! Bytes to documents to chunks, as the operators ask for it: pure functions on the pool's threads.

use std::sync::Arc;

use floodmark_operators::chunk::{Chunk, Chunks};
use floodmark_operators::embed::Text;
use floodmark_operators::keys::{ChunkHash, ContentKey};
use floodmark_operators::parse::Parse;

use crate::fault;
use crate::formats::{self, ChunkOptions, Document, Parsed, Piece, TokenOffsets};
use crate::ingest::reader::Bytes;
use crate::store::row::{ChunkRow, ContentRow, DocumentRow, Failure};

/// Parses by format.
pub struct Parser {
    /// Which fields are text, id and title; limits.
    pub options: formats::Options,
}

/// A parsed content, and what its row will need.
pub struct Documents {
    content: Bytes,
    parsed: Result<Parsed, Failure>,
}

impl Parse for Parser {
    type Bytes = Bytes;
    type Documents = Documents;

    fn parse(&self, _content: ContentKey, bytes: Bytes) -> Documents {
        fault::pass("parse.begin");
        let parsed = formats::parse(&bytes.bytes, bytes.format, &bytes.piece, &self.options);
        let parsed = match parsed {
            // A part of a file is not a file: what is wrong with it is said beside what is right.
            Err(failure) if !bytes.alone || bytes.piece != Piece::Whole => Ok(Parsed {
                documents: Vec::new(),
                failures: vec![failure],
            }),
            parsed => parsed,
        };
        Documents {
            content: bytes,
            parsed,
        }
    }
}

/// Chunks by the model's own tokens.
pub struct Chunker {
    /// Length and overlap.
    pub options: ChunkOptions,
    /// The model's tokenizer.
    pub tokens: Arc<dyn TokenOffsets>,
}

impl Chunk for Chunker {
    type Documents = Documents;
    type Row = Arc<ContentRow>;
    type Refusal = Failure;

    fn chunk(
        &self,
        key: ContentKey,
        documents: &Documents,
    ) -> Result<Chunks<Arc<ContentRow>>, Failure> {
        fault::pass("chunk.begin");
        let Documents { content, parsed } = documents;
        let parsed = parsed.as_ref().map_err(Failure::clone)?;
        let mut texts = Vec::new();
        let documents = parsed
            .documents
            .iter()
            .map(|document| self.document(document, &mut texts))
            .collect();
        let row = ContentRow {
            key,
            hash: content.hash,
            bytes: content.bytes.len() as u64,
            format: content.format,
            documents,
            failures: parsed.failures.clone(),
        };
        Ok(Chunks {
            row: Arc::new(row),
            texts,
        })
    }
}

impl Chunker {
    fn document(&self, document: &Document, texts: &mut Vec<(ChunkHash, Text)>) -> DocumentRow {
        let chunks = formats::split(document, &self.options, &*self.tokens);
        let rows = chunks
            .into_iter()
            .map(|chunk| {
                let hash = ChunkHash::of(&[chunk.text.as_bytes()]);
                texts.push((
                    hash,
                    Text {
                        text: chunk.text.into(),
                        tokens: chunk.tokens,
                    },
                ));
                ChunkRow {
                    hash,
                    start: chunk.start as u64,
                    end: chunk.end as u64,
                }
            })
            .collect();
        DocumentRow {
            id: document.id.clone(),
            record: document.record,
            title: document.title.clone(),
            metadata: document.metadata.clone(),
            start: document.range.start as u64,
            end: document.range.end as u64,
            chunks: rows,
        }
    }
}
