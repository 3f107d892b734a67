//! The page at `/`: what this is, how it is, and where to go from here.

use std::fmt;
use std::fmt::Write as _;

/// What the landing page shows.
pub struct Landing {
    name: &'static str,
    version: &'static str,
    about: &'static str,
    links: Vec<Link>,
    status: Box<dyn Fn() -> Vec<(String, String)> + Send + Sync>,
}

/// A way from the landing page.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Such as `/metrics`.
    pub path: &'static str,
    /// What is there, in a few words.
    pub about: &'static str,
}

impl Landing {
    /// A page with links to the health endpoints.
    pub fn new(name: &'static str, version: &'static str, about: &'static str) -> Self {
        let links = vec![
            Link { path: "/livez", about: "the process runs" },
            Link { path: "/readyz", about: "the process can do its work, or why not" },
        ];
        Landing { name, version, about, links, status: Box::new(Vec::new) }
    }

    /// Adds a link before those to the health endpoints.
    #[must_use]
    pub fn link(mut self, path: &'static str, about: &'static str) -> Self {
        let before_health = self.links.len() - 2;
        self.links.insert(before_health, Link { path, about });
        self
    }

    /// Sets what the status table shows, as names and values; asked at every view, so it must be quick. No secrets, no content.
    #[must_use]
    pub fn status(mut self, status: impl Fn() -> Vec<(String, String)> + Send + Sync + 'static) -> Self {
        self.status = Box::new(status);
        self
    }

    /// The page.
    pub fn render(&self) -> String {
        let mut links = String::new();
        for link in &self.links {
            // Relative, so that the page also works behind a path prefix. Writing to a string cannot fail.
            let _infallible = write!(
                links,
                "<li><a href=\"{}\">{}</a> <span>{}</span></li>",
                escape(link.path.trim_start_matches('/')),
                escape(link.path),
                escape(link.about)
            );
        }
        let mut rows = String::new();
        for (name, value) in (self.status)() {
            let _infallible = write!(rows, "<tr><th>{}</th><td>{}</td></tr>", escape(&name), escape(&value));
        }
        let table = if rows.is_empty() { rows } else { format!("<h2>Status</h2><table>{rows}</table>") };
        let (name, version, about) = (escape(self.name), escape(self.version), escape(self.about));
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{name}</title><style>{STYLE}</style></head><body><main><h1>{name} <small>{version}</small></h1><p>{about}</p>\
             <ul>{links}</ul>{table}</main></body></html>\n"
        )
    }
}

impl fmt::Debug for Landing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landing")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--soft:#667085;--line:#e4e7ec;--paper:#f7f8fa;--card:#fff;--link:#155eef}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2b3340;--paper:#0f141b;--card:#171d26;--link:#84adff}}\
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:44rem;margin:8vh auto;padding:2rem 2.5rem;background:var(--card);border:1px solid var(--line);border-radius:12px}\
h1{margin:0;font-size:1.6rem}h2{margin:2rem 0 .5rem;font-size:1rem}small,span{color:var(--soft);font-weight:400}\
ul{padding:0;list-style:none}li{padding:.2rem 0}a{color:var(--link);text-decoration:none;font-family:ui-monospace,monospace}\
a:hover{text-decoration:underline}table{width:100%;border-collapse:collapse}th,td{padding:.35rem 0;text-align:left;\
border-top:1px solid var(--line);vertical-align:top}th{width:40%;color:var(--soft);font-weight:400}";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_name_links_and_status_of_the_moment() {
        let page = Landing::new("dify-exporter", "1.2.3", "Metrics & more")
            .link("/metrics", "for Prometheus")
            .status(|| vec![("Database".to_owned(), "<b>\"up\"</b>".to_owned())])
            .render();
        for part in [
            "<title>dify-exporter</title>",
            "<small>1.2.3</small>",
            "Metrics &amp; more",
            "<a href=\"metrics\">/metrics</a> <span>for Prometheus</span>",
            "<a href=\"readyz\">/readyz</a>",
            "<tr><th>Database</th><td>&lt;b&gt;&quot;up&quot;&lt;/b&gt;</td></tr>",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
    }

    #[test]
    fn without_status_there_is_no_table() {
        assert!(!Landing::new("a", "b", "c").render().contains("<table>"));
    }
}
