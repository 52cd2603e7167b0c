//! An expression (`--query-syntax`): what it matches is for tantivy to say, what its words are worth is said here.

use tantivy::query::{Occur, Query, QueryParser};
use tantivy::query_grammar::{UserInputAst, UserInputLeaf, parse_query};
use tantivy::schema::{Field, Schema};
use tantivy::tokenizer::{TextAnalyzer, TokenStream, TokenizerManager};

use super::KeywordError;
use super::query::{Sought, WORDS_MAX, Wanted, Words};
use super::schema::TOKENIZER;

/// See the module's text.
pub(super) struct Expression {
    /// What matches.
    pub query: Box<dyn Query>,
    /// The words of what must or may match, each once, with its boosts summed.
    pub wanted: Vec<Wanted>,
}

impl Expression {
    /// # Errors
    /// [`KeywordError::Syntax`].
    pub(super) fn parse(
        query: &str,
        schema: &Schema,
        body: Field,
        words: Words,
    ) -> Result<Self, KeywordError> {
        let ast = parse_query(query)
            .map_err(|_| KeywordError::Syntax(format!("{query:?} is no expression")))?;
        let mut analyser = TextAnalyzer::from(words);
        let mut wanted = Vec::new();
        collect(
            &ast,
            1.0,
            schema.get_field_name(body),
            &mut analyser,
            &mut wanted,
        )?;
        let tokenizers = TokenizerManager::new();
        tokenizers.register(TOKENIZER, analyser);
        let parser = QueryParser::new(schema.clone(), vec![body], tokenizers);
        let query = (parser.build_query_from_user_input_ast(ast))
            .map_err(|error| KeywordError::Syntax(error.to_string()))?;
        Ok(Self { query, wanted })
    }
}

/// Adds the words of `ast`, each of which counts `boost` times.
fn collect(
    ast: &UserInputAst,
    boost: f64,
    body: &str,
    analyser: &mut TextAnalyzer,
    wanted: &mut Vec<Wanted>,
) -> Result<(), KeywordError> {
    let of_body = |field: &Option<String>| field.as_deref().is_none_or(|field| field == body);
    let mut add = |phrase: &str| {
        analyser.token_stream(phrase).process(&mut |token| {
            let terms = vec![Sought::Exactly(token.text.clone())];
            match wanted.iter().position(|wanted| wanted.terms == terms) {
                Some(at) => wanted[at].times += boost as f32,
                None if wanted.len() < WORDS_MAX => wanted.push(Wanted {
                    terms,
                    times: boost as f32,
                }),
                None => {}
            }
        });
    };
    match ast {
        UserInputAst::Clause(clauses) => {
            for (occur, clause) in clauses {
                // What must not match adds nothing to what matches.
                if *occur != Some(Occur::MustNot) {
                    collect(clause, boost, body, analyser, wanted)?;
                }
            }
        }
        UserInputAst::Boost(ast, by) => {
            let boost = boost * by.into_inner();
            if !(boost as f32).is_finite() || boost < 0.0 {
                let why = format!("a word can't count {} times", by.into_inner());
                return Err(KeywordError::Syntax(why));
            }
            collect(ast, boost, body, analyser, wanted)?;
        }
        UserInputAst::Leaf(leaf) => match &**leaf {
            UserInputLeaf::Literal(literal) if of_body(&literal.field_name) => add(&literal.phrase),
            UserInputLeaf::Set { field, elements } if of_body(field) => {
                elements.iter().for_each(|element| add(element));
            }
            _ => {}
        },
    }
    Ok(())
}
