//! Says what is wrong in a configuration file, and where, without showing a secret that stands there.

use std::path::Path;

use crate::secret::scrub;

/// One sentence with file, line and column, and below it the line with a caret under the place.
pub(super) fn explain(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let message = scrub(error.message());
    let Some(span) = error.span() else {
        return format!("{}: {message}", path.display());
    };
    let start = span.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let number = text[..line_start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count();
    let shown = showable(line);
    let caret_at = column.min(shown.chars().count());
    let width = text[start..span.end.clamp(start, text.len())].chars().take_while(|c| *c != '\n').count();
    let carets = "^".repeat(width.min(shown.chars().count().saturating_sub(caret_at)).max(1));
    let gutter = " ".repeat(number.to_string().len());
    let indent = " ".repeat(caret_at);
    format!("{}:{number}:{}: {message}\n{gutter} |\n{number} | {shown}\n{gutter} | {indent}{carets}", path.display(), column + 1)
}

/// The part of a line that may be shown: section headers and keys always; a value only where the key is not one for secrets
/// and the value is no URL. A line that is neither may be the middle of a longer text, and is left out.
fn showable(line: &str) -> String {
    if line.trim_start().starts_with('[') && !line.contains(['=', '"']) {
        return line.to_owned();
    }
    let Some((key, value)) = line.split_once('=') else { return "…".to_owned() };
    let plain_key = key.trim().chars().all(|c| c.is_alphanumeric() || "_-.\"' ".contains(c));
    if !plain_key {
        return "…".to_owned();
    }
    let key_lower = key.to_ascii_lowercase();
    let secret = ["url", "password", "secret", "token", "key", "auth", "credential"].iter().any(|word| key_lower.contains(word));
    if secret || value.contains("://") || value.contains('{') { format!("{key}= …") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn explained(text: &str) -> String {
        let error = toml::from_str::<Settings>(text).unwrap_err();
        explain(Path::new("x.toml"), text, &error)
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_line_and_a_caret() {
        let shown = explained("state_dir = \"/a\"\n[exporter]\nlisten = \"127.0.0.1:1\"\nlissten = 3\n");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("x.toml:4:1: unknown field `lissten`, expected one of `listen`"), "{shown}");
        assert_eq!(lines[1..], ["  |", "4 | lissten = 3", "  | ^^^^^^^"]);
    }

    #[test]
    fn a_wrong_type_points_at_the_value() {
        let shown = explained("[exporter]\nmin_interval = 30\n");
        assert!(shown.starts_with("x.toml:2:16: "), "{shown}");
        assert!(shown.ends_with("2 | min_interval = 30\n  |                ^^"), "{shown}");
    }

    #[test]
    fn no_mistake_shows_a_secret_beside_it() {
        for text in [
            "[postgres]\nurl = \"postgres://u:hunter2@h/d\n",
            "[postgres]\nurl = postgres://u:hunter2@h/d\n",
            "[postgres]\nurl = \"\"\"\npostgres://u:hunter2@h/d\nhunter2",
            "[postgres]\npassword = 'hunter2\n",
            "[postgres]\npassword = hunter2\n",
            "postgres = { url = \"postgres://u:hunter2@h/d\", bogus = 3 }",
            "[exporter]\nlisten = [\"postgres://u:hunter2@h/d\"]\n",
            "[exporter]\nmin_interval = \"postgres://u:hunter2@h/d\"\n",
            "[postgres]\nurl \"postgres://u:hunter2@h/d\"\n",
        ] {
            let shown = explained(text);
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
    }
}
