//! What the page is computed from: counts and sums per day, at most four statements an app.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{App, Rules};
use crate::dify::session::{DatabaseError, Query, ReadTx, query};

/// A span of local time: start inclusive, end exclusive; open where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window<'a> {
    /// An IANA name; days are its calendar days.
    pub time_zone: &'a str,
    /// First local minute.
    pub start: Option<NaiveDateTime>,
    /// The local minute after the last.
    pub end: Option<NaiveDateTime>,
}

impl<'a> Window<'a> {
    /// One calendar day of a time zone.
    pub fn of_day(date: NaiveDate, time_zone: &'a str) -> Self {
        let midnight = |date: NaiveDate| date.and_time(chrono::NaiveTime::MIN);
        Window { time_zone, start: Some(midnight(date)), end: date.succ_opt().map(midnight) }
    }
}

/// The figures of one app by local day. A day without rows is absent, as in Dify's answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(pub BTreeMap<NaiveDate, Day>);

/// What happened on one day. Each part is `None` when no row of its kind fell on the day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    /// Of `messages`.
    pub messages: Option<Messages>,
    /// Conversations that had a message. By the rules of old releases it can be there when `messages` is not and reverse.
    pub conversations: Option<i64>,
    /// Messages (one for each like where there are several) and likes.
    pub likes: Option<(i64, i64)>,
    /// Messages in, and number of, the conversations that began on the day.
    pub sessions: Option<(i64, i64)>,
    /// Of `workflow_runs`.
    pub runs: Option<Runs>,
}

/// Sums over the messages of a day.
#[derive(Clone, Debug, PartialEq)]
pub struct Messages {
    /// Rows.
    pub count: i64,
    /// Distinct end users.
    pub end_users: i64,
    /// Tokens of prompts and answers.
    pub tokens: i64,
    /// Tokens of answers.
    pub answer_tokens: i64,
    /// Sum of `total_price` as PostgreSQL writes it, `None` when every price is NULL. Dify prints "USD" whatever it is.
    pub price: Option<String>,
    /// Sum of `provider_response_latency`, in seconds.
    pub latency_sum: f64,
    /// Its average, as PostgreSQL computes it.
    pub latency_average: f64,
}

/// Sums over the runs of a day.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs {
    /// Rows.
    pub count: i64,
    /// Distinct `created_by`.
    pub users: i64,
    /// Sum of `total_tokens`.
    pub tokens: Decimal,
}

/// Reads what `rules` allow of an app's figures in a window.
pub async fn read(tx: &mut ReadTx, rules: Rules, app: &App, window: &Window<'_>) -> Result<Figures, DatabaseError> {
    let mut figures = Figures::default();
    let has_messages = app.mode != "workflow";
    if has_messages && rules.messages {
        let text = query(include_str!("../queries/console_messages.sql"));
        let bound = in_window(text, app, window).bind(rules.without_debugger).bind(rules.conversations_without_debugger);
        for row in tx.fetch_all(bound).await? {
            read_messages(figures.day(&row)?, &row)?;
        }
    }
    if has_messages && rules.likes {
        let text = query(include_str!("../queries/console_likes.sql"));
        for row in tx.fetch_all(in_window(text, app, window).bind(rules.without_debugger)).await? {
            figures.day(&row)?.likes = Some((row.try_get("messages")?, row.try_get("likes")?));
        }
    }
    if has_messages && rules.sessions {
        let text = query(include_str!("../queries/console_sessions.sql"));
        for row in tx.fetch_all(in_window(text, app, window).bind(rules.without_debugger)).await? {
            figures.day(&row)?.sessions = Some((row.try_get("messages")?, row.try_get("conversations")?));
        }
    }
    if matches!(app.mode.as_str(), "workflow" | "advanced-chat") && rules.runs {
        let text = query(include_str!("../queries/console_runs.sql"));
        for row in tx.fetch_all(in_window(text, app, window).bind(app.tenant_id)).await? {
            figures.day(&row)?.runs = Some(read_runs(&row)?);
        }
    }
    Ok(figures)
}

impl Figures {
    fn day(&mut self, row: &PgRow) -> Result<&mut Day, DatabaseError> {
        Ok(self.0.entry(row.try_get("day")?).or_default())
    }
}

fn in_window<'q>(query: Query<'q>, app: &App, window: &Window<'q>) -> Query<'q> {
    query.bind(app.id).bind(window.time_zone).bind(window.start).bind(window.end)
}

fn read_messages(day: &mut Day, row: &PgRow) -> Result<(), DatabaseError> {
    let count: i64 = row.try_get("messages")?;
    if count > 0 {
        day.messages = Some(Messages {
            count,
            end_users: row.try_get("end_users")?,
            tokens: row.try_get("tokens")?,
            answer_tokens: row.try_get("answer_tokens")?,
            price: row.try_get("price")?,
            latency_sum: row.try_get("latency_sum")?,
            latency_average: row.try_get("latency_average")?,
        });
    }
    if row.try_get::<i64, _>("conversation_messages")? > 0 {
        day.conversations = Some(row.try_get("conversations")?);
    }
    Ok(())
}

fn read_runs(row: &PgRow) -> Result<Runs, DatabaseError> {
    let tokens: Option<String> = row.try_get("tokens")?;
    let tokens = tokens.as_deref().unwrap_or("0").parse().map_err(|_| DatabaseError::Value("sum(total_tokens)".into()))?;
    Ok(Runs { count: row.try_get("runs")?, users: row.try_get("users")?, tokens })
}
