//! `settings!`: from the one table to the struct of the values, the list of the keys, and the functions over both.

/// `max_tokens` spelt `max-tokens`, or with a prefix in capitals.
pub(super) const fn spell<const N: usize>(prefix: &str, field: &str, capitals: bool) -> [u8; N] {
    let mut out = [0; N];
    let mut at = 0;
    while at < N {
        let shift = prefix.len();
        let byte = if at < shift {
            prefix.as_bytes()[at]
        } else {
            field.as_bytes()[at - shift]
        };
        out[at] = match byte {
            b'_' if !capitals => b'-',
            b if capitals => b.to_ascii_uppercase(),
            b => b,
        };
        at += 1;
    }
    out
}

/// A name that was spelt, as text.
pub(super) const fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("a field's name is ASCII"),
    }
}

macro_rules! short {
    () => {
        None
    };
    ($letter:literal) => {
        Some($letter)
    };
}

/// Declares every setting: `name $(short) : type = defaults, rule;` under a sentence that says what it does.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $group:literal in [$table:literal] {$(
            $(#[doc = $doc:literal])+
            $field:ident $($short:literal)? : $type:ty = $default:expr, $rule:expr;
        )*}
    )*) => {
        /// The values that this run goes by.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($($(#[doc = $doc])+ pub $field: $type,)*)*
            /// The configuration file that was read, if there was one.
            pub file: Option<PathBuf>,
            origins: BTreeMap<&'static str, Origin>,
            layers: Layers,
        }

        /// Every setting there is.
        pub const GROUPS: &[Group] = &[$(Group {
            name: $group,
            table: $table,
            about: concat!($($about),+).trim_ascii(),
            keys: &[$(Key {
                name: {
                    const NAME: [u8; stringify!($field).len()] = spell("", stringify!($field), false);
                    text(&NAME)
                },
                env: {
                    const NAME: [u8; PREFIX.len() + stringify!($field).len()] = spell(PREFIX, stringify!($field), true);
                    text(&NAME)
                },
                table: $table,
                short: short!($($short)?),
                help: concat!($($doc),+).trim_ascii(),
                default: &$default,
                rule: $rule,
                many: <$type as Setting>::MANY,
            }),*],
        }),*];

        impl Config {
            /// The keys whose values differ.
            pub fn changed(&self, other: &Self) -> Vec<&'static Key> {
                let mut keys = keys();
                let mut changed = Vec::new();
                $($(
                    let key = keys.next().expect("the table has one key a field, in their order");
                    if self.$field != other.$field {
                        changed.push(key);
                    }
                )*)*
                changed
            }

            /// Builds each field from what `values` finds for its key, in the order of the table.
            fn build(
                layers: Layers,
                file: Option<PathBuf>,
                mut values: impl FnMut(&'static Key) -> Result<(Vec<String>, Origin), ConfigError>,
            ) -> Result<Self, ConfigError> {
                let mut origins = BTreeMap::new();
                let mut keys = GROUPS.iter().flat_map(|group| group.keys);
                let mut next = || {
                    let key = keys.next().expect("the table has one key a field, in their order");
                    let (values, origin) = values(key)?;
                    origins.insert(key.name, origin.clone());
                    Ok((key, values, origin))
                };
                $($(let $field = {
                    let (key, values, origin) = next()?;
                    <$type as Setting>::read(&values)
                        .ok_or_else(|| ConfigError::value(key, &values.join(", "), origin))?
                };)*)*
                Ok(Self { $($($field,)*)* file, origins, layers })
            }
        }
    };
}

pub(super) use {settings, short};
