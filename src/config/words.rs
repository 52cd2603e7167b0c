//! Settings that are one of a few words.

use super::rule;

rule::words! {
    /// What becomes of symbolic links below an input.
    Symlinks {
        /// They are not looked at.
        Skip = "skip",
        /// Links to files below an input are read as what they point to.
        Files = "files",
        /// All are read as what they point to, wherever that is; a loop is noticed.
        Follow = "follow",
    }
    /// Whether to scan periodically instead of watching.
    Poll {
        /// Where the file system reports no changes.
        Auto = "auto",
        /// Everywhere.
        Always = "always",
        /// Nowhere.
        Never = "never",
    }
    /// Where the model runs.
    Device {
        /// The best that is there: CUDA, CoreML, processor.
        Auto = "auto",
        /// An NVIDIA graphics processor; without one the processor, and a warning.
        Cuda = "cuda",
        /// Apple's accelerator; without it the processor, and a warning.
        Coreml = "coreml",
        /// The processor.
        Cpu = "cpu",
    }
    /// What becomes of the good version of a file whose new version is bad.
    OnBad {
        /// It stays live and is marked stale.
        Keep = "keep",
        /// It is retracted.
        Drop = "drop",
    }
    /// What a search looks at.
    SearchMode {
        /// Meaning and words.
        Hybrid = "hybrid",
        /// Meaning alone.
        Vector = "vector",
        /// Words alone.
        Keyword = "keyword",
    }
    /// How the list of the vectors and the list of the words become one.
    Fusion {
        /// By how many standard deviations a score lies above the mean of its list.
        Zscore = "zscore",
        /// By where a score lies between the worst and the best of its list.
        Minmax = "minmax",
        /// By the ranks alone.
        Rrf = "rrf",
    }
    /// The language whose words the keyword view takes texts for.
    Language {
        /// Each text's own, as far as it shows; English where it does not.
        Auto = "auto",
        /// None: words are found as they are written, but for case and accents.
        None = "none",
        /// Arabic.
        Arabic = "arabic",
        /// Danish.
        Danish = "danish",
        /// Dutch.
        Dutch = "dutch",
        /// English.
        English = "english",
        /// Finnish.
        Finnish = "finnish",
        /// French.
        French = "french",
        /// German.
        German = "german",
        /// Greek.
        Greek = "greek",
        /// Hungarian.
        Hungarian = "hungarian",
        /// Italian.
        Italian = "italian",
        /// Norwegian.
        Norwegian = "norwegian",
        /// Portuguese.
        Portuguese = "portuguese",
        /// Romanian.
        Romanian = "romanian",
        /// Russian.
        Russian = "russian",
        /// Spanish.
        Spanish = "spanish",
        /// Swedish.
        Swedish = "swedish",
        /// Tamil.
        Tamil = "tamil",
        /// Turkish.
        Turkish = "turkish",
    }
    /// How log lines look.
    LogFormat {
        /// One line of text an event.
        Text = "text",
        /// One JSON object an event.
        Json = "json",
    }
    /// What `embed` does with a line that it can't embed.
    OnError {
        /// It ends with exit status 1 and writes nothing.
        Stop = "stop",
        /// It notes the line and goes on.
        Skip = "skip",
    }
}
