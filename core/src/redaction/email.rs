//! Addresses: what stands on both sides of an `@`.

use super::{Rule, Span};

/// Endings of files, which are no top-level domains of anybody's mail: `image@2x.png`.
const FILES: [&str; 10] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "ts", "json"];

/// The address around the `@` at this place.
pub(super) fn address(text: &str, at: usize) -> Option<Span> {
    let start = local_part(text, at)?;
    let end = domain(text, at + 1)?;
    Some(Span { start, end, rule: Rule::Email.index() })
}

/// Letters beyond ASCII belong to addresses too; Chinese, Japanese and Korean ones only where the address is made of them, because they are
/// written up against words of other scripts.
fn is_letter(character: char, ideographs: bool) -> bool {
    character.is_ascii_alphanumeric() || (!character.is_ascii() && character.is_alphanumeric() && (ideographs || character < '\u{2e80}'))
}

fn local_part(text: &str, at: usize) -> Option<usize> {
    let before = &text[..at];
    let ideographs = before.chars().next_back().is_some_and(|last| last >= '\u{2e80}');
    let belongs = |character: char| is_letter(character, ideographs) || "._%+-'!#$&*/=?^`{|}~".contains(character);
    let run = before.len() - before.chars().rev().take(128).take_while(|c| belongs(*c)).map(char::len_utf8).sum::<usize>();
    // What sets an address off from its surroundings is not a part of it, even where it could be: `'ada@b.c'`, `mail=ada@b.c`, `{ada@b.c`.
    let local = &before[run..];
    let start = local.rfind(|c| "'=?&/{|`!*#$^~".contains(c)).map_or(run, |mark| run + mark + 1);
    let lead = text[start..at].len() - text[start..at].trim_start_matches(['.', '-', '+', '%']).len();
    (start + lead < at).then_some(start + lead)
}

fn domain(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start..];
    let ideographs = rest.chars().next().is_some_and(|first| first >= '\u{2e80}');
    let belongs = |character: char| is_letter(character, ideographs) || character == '-' || character == '.';
    let length: usize = rest.chars().take(253).take_while(|c| belongs(*c)).map(char::len_utf8).sum();
    let domain = rest[..length].trim_end_matches(['.', '-']);
    let (name, top) = domain.rsplit_once('.')?;
    let is_top = top.chars().count() >= 2 && top.chars().all(|c| c.is_alphabetic() || (top.starts_with("xn--") && c != '.'));
    (is_top && !name.is_empty() && !name.starts_with('.') && !FILES.contains(&top)).then_some(start + domain.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        address(text, text.find('@')?).map(|span| &text[span.start..span.end])
    }

    #[test]
    fn addresses_are_found_in_their_surroundings() {
        for (text, address) in [
            ("write to ada.l+x@mail.example.co.uk.", "ada.l+x@mail.example.co.uk"),
            ("邮箱ada@example.com谢谢", "ada@example.com"),
            ("<jörg@exämple.de>", "jörg@exämple.de"),
            ("https://x/?mail=ada@example.com&a=1", "ada@example.com"),
            ("mailto:ada@example.com", "ada@example.com"),
            ("{'mail': 'ada@example.com'}", "ada@example.com"),
            ("用户@例子.公司", "用户@例子.公司"),
            ("o'neil_1@example.org", "neil_1@example.org"),
        ] {
            assert_eq!(found(text), Some(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_stays() {
        for text in ["@decorator", "lodash@4.17.21", "image@2x.png", "a @ b.com", "user@localhost", "@b.com", "x@.com"] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
