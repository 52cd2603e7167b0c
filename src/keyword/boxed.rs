//! A document that is small where it waits.
//!
//! tantivy's writer makes a queue of ten thousand places anew with every commit, each with room for four documents. With documents
//! in them it is megabytes, fetched from the kernel and given back; with boxes it is small enough to come from memory that is at hand.
//! docs/decisions/0020-few-texts.md has the figures.

use tantivy::TantivyDocument;
use tantivy::schema::Document;
use tantivy::schema::document::CompactDocValue;

/// A [`TantivyDocument`] of one pointer's size.
pub(super) struct Boxed(pub Box<TantivyDocument>);

impl Document for Boxed {
    type Value<'a> = CompactDocValue<'a>;
    type FieldsValuesIter<'a> = <TantivyDocument as Document>::FieldsValuesIter<'a>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        self.0.iter_fields_and_values()
    }

    fn into_tantivy_document(self) -> TantivyDocument {
        *self.0
    }
}
