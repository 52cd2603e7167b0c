//! A session whose token vectors are kept.

use std::sync::Arc;

use floodmark_operators::embed::Vector;

use super::{Oracle, reason};
use crate::model::Session;
use crate::token_store::{Keeper, Quantised, hash};

/// The session, and whoever keeps what it makes.
pub(super) fn oracle(session: Session, keeper: Option<&Arc<Keeper>>) -> Box<dyn Oracle> {
    match keeper {
        None => Box::new(session),
        Some(keeper) => Box::new(Keeping {
            session,
            keeper: keeper.clone(),
        }),
    }
}

struct Keeping {
    session: Session,
    keeper: Arc<Keeper>,
}

impl Oracle for Keeping {
    fn vectors(&mut self, texts: &[Arc<str>]) -> Result<Vec<Vector>, String> {
        let all: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let made = self.session.embed_with_tokens(&all).map_err(reason)?;
        let mut rows = Vec::with_capacity(texts.len());
        let mut vectors = Vec::with_capacity(texts.len());
        for (text, (vector, tokens)) in texts.iter().zip(made) {
            vectors.push(vector);
            match tokens {
                Some(tokens) => {
                    let rounded = Quantised::of(tokens.view());
                    rows.extend(rounded.map(|rounded| (hash(text), rounded)));
                }
                None => self.keeper.none(),
            }
        }
        self.keeper.put(rows);
        Ok(vectors)
    }
}
