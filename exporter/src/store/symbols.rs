//! Label values, each kept once. Series hold numbers of 4 bytes instead of texts.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The number of a text in [`Symbols`].
pub(crate) type Symbol = u32;

/// The texts that label sets are made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Arc<str>>", into = "Vec<Arc<str>>")]
pub(crate) struct Symbols {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, Symbol>,
}

impl Symbols {
    /// The number of a text that is there.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    /// The number of a text, which is added when it is new.
    pub(crate) fn intern(&mut self, text: &str) -> Symbol {
        if let Some(number) = self.find(text) {
            return number;
        }
        let number = Symbol::try_from(self.texts.len()).expect("label values do not reach four billions: series are capped");
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The text of a number.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        // A number that no text belongs to can only come out of a state file that another program wrote.
        self.texts.get(symbol as usize).map_or("", |text| text)
    }
}

impl From<Vec<Arc<str>>> for Symbols {
    fn from(texts: Vec<Arc<str>>) -> Self {
        let numbers = texts.iter().cloned().zip(0..).collect();
        Symbols { texts, numbers }
    }
}

impl From<Symbols> for Vec<Arc<str>> {
    fn from(symbols: Symbols) -> Self {
        symbols.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number_through_the_state_file() {
        let mut symbols = Symbols::default();
        let (a, b) = (symbols.intern("a"), symbols.intern("b"));
        assert_eq!(symbols.intern("a"), a);
        let bytes = postcard::to_stdvec(&symbols).unwrap();
        let read: Symbols = postcard::from_bytes(&bytes).unwrap();
        assert_eq!((read.find("a"), read.find("b"), read.text(b)), (Some(a), Some(b), "b"));
    }
}
