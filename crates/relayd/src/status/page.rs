//! The page for people: plain HTML, no script, nothing from elsewhere, made anew every minute.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::snapshot::{Health, Snapshot};
use super::words::{bytes, count, duration, milliseconds, sandbox, time_of_day};

const STYLE: &str = include_str!("page.css");
/// What the page is.
pub(crate) const TYPE: &str = "text/html; charset=utf-8";

/// A row: what it is called, what it means, how much it is.
type Row = (&'static str, &'static str, String);

/// The whole page.
pub(crate) fn html(all: &Snapshot) -> String {
    let mut page = String::new();
    let class = if all.health == Health::Ok { "" } else { " bad" };
    let title = all.health.words();
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Relay: {title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"refresh\" content=\"60\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>Emptyroom relay</h1>\n\
         <p>Version {version}, running for {up}, {sandbox}; sums as of {as_of}</p>\n</header>\n\
         <p class=\"health{class}\" role=\"status\"><strong>{title}</strong>{failure}</p>\n<div class=\"columns\">\n",
        version = all.version,
        sandbox = sandbox(all),
        up = duration(all.up_s),
        as_of = time_of_day(all.as_of_unix_s),
        failure = all
            .failure
            .as_deref()
            .map_or_else(String::new, |what| format!("<br>{what}")),
    );
    section(&mut page, "Now", &now(all));
    section(&mut page, "Disk", &disk(all));
    section(&mut page, "Since the start", &since(all));
    reasons(&mut page, "Refused requests", &all.refusals, refusal);
    reasons(
        &mut page,
        "Connections ended by the relay",
        &all.hangups,
        hangup,
    );
    reasons(
        &mut page,
        "Newcomers dropped unheard",
        &all.turned_away,
        turned_away,
    );
    page.push_str(
        "</div>\n<footer>Sums over everybody; the relay knows no users, and nothing here is about one. So that what one of few does \
         does not show, sums are taken once a minute, counts rounded down to multiples of 16 and sizes to MiB. For programs: <a href=\"/metrics\">metrics</a>, <a href=\"/health\">health</a>, \
         <a href=\"/status.json\">all of this as JSON</a>.</footer>\n</main>\n</body>\n</html>\n",
    );
    page
}

fn now(all: &Snapshot) -> [Row; 7] {
    [
        (
            "Connections",
            "clients' TLS connections",
            count(all.connections),
        ),
        (
            "Open streams",
            "those of them that have said hello",
            count(all.streams),
        ),
        (
            "Handles",
            "logs that clients listen to, each counted for every listener",
            count(all.handles),
        ),
        (
            "Open logs",
            "logs that somebody listens to",
            count(all.logs_open),
        ),
        (
            "Waiting to be sent",
            "what clients have not taken yet",
            bytes(all.unsent_bytes),
        ),
        (
            "Waiting for the disk",
            "requests that the store has yet to carry out",
            count(all.queue_requests),
        ),
        ("Memory", "of the whole process", bytes(all.memory_bytes)),
    ]
}

fn disk(all: &Snapshot) -> Vec<Row> {
    let store = &all.store;
    let mut rows = Vec::new();
    if all.databases > 0 {
        rows.push((
            "Databases",
            "how many there are, and of them away, and full",
            format!(
                "{}, {}, {}",
                all.databases, all.databases_away, all.databases_full
            ),
        ));
        rows.push((
            "News by NATS",
            "while it is away, readers on other nodes wait up to 30 seconds",
            all.news.clone().unwrap_or_else(|| "none".to_owned()),
        ));
    }
    rows.extend([
        (
            "Space left",
            "what the file system still has for the relay",
            bytes(store.disk_free_bytes),
        ),
        (
            "Stored",
            "what the store's files take of the disk",
            bytes(store.bytes),
        ),
        (
            "Journal",
            "of that, what is not yet in its place; falls to nearly nothing when idle",
            bytes(store.journal_bytes),
        ),
    ]);
    if let Some(number) = store.rows {
        rows.push((
            "Rows",
            "sealed entries, headers and what belongs to them",
            count(number),
        ));
    }
    let latency = |share| {
        let seconds = all.batch_seconds.at_most(share);
        seconds.map_or_else(|| "–".to_owned(), |s| format!("≤ {}", milliseconds(s)))
    };
    rows.push((
        "Half of all batches",
        "time until a batch is durable on the disk",
        latency(0.5),
    ));
    rows.push((
        "99 of 100 batches",
        "much more than the line above: the disk is the bottleneck",
        latency(0.99),
    ));
    rows
}

fn since(all: &Snapshot) -> [Row; 6] {
    [
        (
            "Entries stored",
            "each was on the disk before it was acknowledged",
            count(all.entries_appended),
        ),
        (
            "Entries handed out",
            "stored once, handed to every listener",
            count(all.entries_pushed),
        ),
        (
            "Casts handed out",
            "passing signals that are never stored",
            count(all.casts_pushed),
        ),
        (
            "Streams opened",
            "also of those who came back",
            count(all.streams_opened),
        ),
        (
            "Handshakes",
            "TLS handshakes that were done",
            count(all.handshakes),
        ),
        (
            "Failed handshakes",
            "scanners, other programs, lost networks",
            count(all.handshakes_failed),
        ),
    ]
}

fn section(page: &mut String, title: &str, rows: &[Row]) {
    let _ = write!(page, "<section>\n<h2>{title}</h2>\n<table>\n");
    for (name, meaning, value) in rows {
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{name}<small>{meaning}</small></th><td>{value}</td></tr>"
        );
    }
    page.push_str("</table>\n</section>\n");
}

/// Only what happened often enough to be counted: most reasons never do.
fn reasons(
    page: &mut String,
    title: &'static str,
    counts: &BTreeMap<String, u64>,
    words: fn(&str) -> (&'static str, &'static str),
) {
    let rows: Vec<Row> = counts
        .iter()
        .filter(|(_, number)| **number > 0)
        .map(|(reason, number)| {
            let (name, meaning) = words(reason);
            (name, meaning, count(*number))
        })
        .collect();
    if rows.is_empty() {
        let _ = write!(
            page,
            "<section>\n<h2>{title}</h2>\n<p class=\"none\">under 16 for each reason</p>\n</section>\n"
        );
    } else {
        section(page, title, &rows);
    }
}

fn refusal(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "unknown" => (
            "No such log",
            "it ran out, or never was: usual after long absence",
        ),
        "destroyed" => ("Destroyed log", "its owner removed it"),
        "closed" => ("Closed log", "the conversation moved on to the next"),
        "full" => ("Full log", "one log holds so much and no more"),
        "not_allowed" => ("Not allowed", "the log's keys do not allow it"),
        "bad_proof" => ("Bad proof", "a signature did not fit: a bug, or an attack"),
        "bad_code" => (
            "Bad access code",
            "the code was changed, or somebody guesses",
        ),
        "too_large" => ("Too large", "larger than this relay takes"),
        "too_many" => (
            "Too many",
            "more handles or requests than one stream may have",
        ),
        "budget" => (
            "Budget used up",
            "new logs and bytes of one account in a day",
        ),
        "busy" => (
            "Busy",
            "more was asked than the disk can take: if it lasts, a limit or the disk is too small",
        ),
        "storage_full" => ("Disk full", "make space"),
        "update_needed" => ("Old client", "speaks no version that this relay speaks"),
        "malformed" => ("Not understood", "a bug of a client, or an attack"),
        "exists" => ("Exists already", "the log stands, with another beginning"),
        "refused_close" => ("Cannot be closed", "the log is of a kind that stays open"),
        "nonce_reused" => ("Nonce reused", "a bug of a client"),
        "draining" => ("Stopping", "asked while the relay was stopping"),
        _ => ("Store failed", "the disk failed: see the log"),
    }
}

fn hangup(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "malformed" => ("Not understood", "scanners, bugs of clients, attacks"),
        "update_needed" => ("Old client", "speaks no version that this relay speaks"),
        "no_opening" => ("Said nothing", "no hello within 30 seconds"),
        "age" => (
            "A day old",
            "streams live for a day; clients come back at once",
        ),
        "slow" => ("Too slow", "did not take what it asked for"),
        "abuse" => ("Too many mistakes", "wrong codes or proofs again and again"),
        "busy" => ("No place", "as many connections as the limit allows"),
        "store_went_back" => (
            "Store went back",
            "the database lost what it had acknowledged: see its replication",
        ),
        "stopping" => ("Stopping", "the relay was told to stop"),
        _ => ("Store failed", "the disk failed: see the log"),
    }
}

fn turned_away(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "handshakes" => (
            "Too many handshakes",
            "more at a time than the limit: a rush, or an attack",
        ),
        "address" => (
            "Too many from one address",
            "raise connections-per-address if many share one",
        ),
        _ => (
            "No place",
            "as many connections as the limit, or open files, allow",
        ),
    }
}
