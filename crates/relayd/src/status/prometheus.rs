//! The totals as metrics, in the text that Prometheus reads.

use std::collections::BTreeMap;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::snapshot::{Health, Snapshot};
use crate::metrics::Distribution;

/// What the text is.
pub(crate) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics.
pub(crate) fn text(snapshot: Snapshot) -> String {
    let mut registry = Registry::with_prefix("emptyroom_relay");
    registry.register_collector(Box::new(All(snapshot)));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct All(Snapshot);

impl Collector for All {
    fn encode(&self, mut to: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let all = &self.0;
        for (name, help, value) in gauges(all) {
            gauge(&mut to, name, help, value)?;
        }
        health(&mut to, all.health)?;
        if all.databases > 0 {
            let help = "Databases that are away";
            gauge(&mut to, "databases_away", help, all.databases_away)?;
            let help = "Databases of several that are full";
            gauge(&mut to, "databases_full", help, all.databases_full)?;
        }
        if let Some(news) = &all.news {
            let help = "1 while NATS is away";
            gauge(&mut to, "news_away", help, u64::from(news == "away"))?;
        }
        if let Some(rows) = all.store.rows {
            gauge(&mut to, "store_rows", "Rows in the store", rows)?;
        }
        for (name, help, value) in counters(all) {
            let counter = ConstCounter::new(value);
            counter.encode(to.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        by_reason(
            &mut to,
            "turned_away",
            "Newcomers dropped unheard",
            &all.turned_away,
        )?;
        by_reason(
            &mut to,
            "refusals",
            "Requests that were refused",
            &all.refusals,
        )?;
        by_reason(
            &mut to,
            "hangups",
            "Connections that the relay ended",
            &all.hangups,
        )?;
        histogram(
            &mut to,
            "batch_operations",
            "Operations in a batch for the store",
            &all.batch_operations,
        )?;
        histogram(
            &mut to,
            "batch_seconds",
            "Time the store takes for a batch, its sync included",
            &all.batch_seconds,
        )?;
        let info = [
            ("version", all.version.as_str()),
            ("store", all.store.kind.as_str()),
        ];
        to.encode_descriptor("build", "Version and kind of store", None, MetricType::Info)?
            .encode_info(&info)
    }
}

/// Which it is, and which it is not: as many series always.
fn health(to: &mut DescriptorEncoder, is: Health) -> Result<(), std::fmt::Error> {
    let help = "1 for how the relay fares, 0 for all else";
    let mut family = to.encode_descriptor("health", help, None, MetricType::Gauge)?;
    for (health, name) in Health::NAMED {
        let value = i64::from(health == is);
        ConstGauge::new(value).encode(family.encode_family(&[("is", name)])?)?;
    }
    Ok(())
}

/// What is called how, what it means, how much it is.
type Row = (&'static str, &'static str, u64);

fn gauges(all: &Snapshot) -> [Row; 15] {
    let healthy = u64::from(all.health == Health::Ok);
    [
        ("healthy", "1 if the relay is healthy, else 0", healthy),
        (
            "as_of_time_seconds",
            "Unix time at which all but the health was taken; counts are rounded down to multiples of 16, sizes to MiB",
            all.as_of_unix_s,
        ),
        (
            "start_time_seconds",
            "Unix time of the start",
            all.started_unix_s,
        ),
        ("memory_bytes", "Memory of the process", all.memory_bytes),
        ("connections", "Connections", all.connections),
        ("streams", "Sealed streams that are open", all.streams),
        ("handles", "Handles on all streams", all.handles),
        (
            "logs_open",
            "Logs on which there is a handle",
            all.logs_open,
        ),
        (
            "unsent_bytes",
            "Bytes that wait for clients to take them",
            all.unsent_bytes,
        ),
        (
            "queue_requests",
            "Requests that wait for the store",
            all.queue_requests,
        ),
        ("queue_bytes", "What they weigh, in bytes", all.queue_bytes),
        (
            "store_bytes",
            "What the store takes of the disk",
            all.store.bytes,
        ),
        (
            "journal_bytes",
            "Of that, what is not yet in its place",
            all.store.journal_bytes,
        ),
        (
            "disk_free_bytes",
            "Space that is left for the data directory",
            all.store.disk_free_bytes,
        ),
        (
            "disk_bytes",
            "Size of its file system",
            all.store.disk_bytes,
        ),
    ]
}

fn counters(all: &Snapshot) -> [Row; 6] {
    [
        (
            "handshakes",
            "TLS handshakes that were done",
            all.handshakes,
        ),
        (
            "handshakes_failed",
            "TLS handshakes that came to nothing",
            all.handshakes_failed,
        ),
        (
            "streams_opened",
            "Streams that were opened",
            all.streams_opened,
        ),
        (
            "entries_appended",
            "Entries that were stored",
            all.entries_appended,
        ),
        (
            "entries_pushed",
            "Entries that were handed out",
            all.entries_pushed,
        ),
        (
            "casts_pushed",
            "Casts that were handed out",
            all.casts_pushed,
        ),
    ]
}

fn gauge(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    let gauge = ConstGauge::new(value);
    gauge.encode(to.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// One series for each reason: they are a closed list.
fn by_reason(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    counts: &BTreeMap<String, u64>,
) -> Result<(), std::fmt::Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (reason, count) in counts {
        let labels = [("reason", reason.as_str())];
        ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn histogram(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: &Distribution,
) -> Result<(), std::fmt::Error> {
    let upper = values.upper.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = upper.zip(values.counts.iter().copied()).collect();
    to.encode_descriptor(name, help, None, MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(values.sum, values.count(), &buckets, None)
}
