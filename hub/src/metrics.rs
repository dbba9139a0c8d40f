//! What the hub counts, in the text format of Prometheus (version 0.0.4).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of request times, in milliseconds.
const BOUNDS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000];

macro_rules! counters {
    ($($field:ident $name:literal $help:literal;)+) => {
        /// Counters since the process started.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: AtomicU64,)+
            buckets: [AtomicU64; BOUNDS.len() + 1],
            micros: AtomicU64,
        }

        impl Metrics {
            fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$(($name, $help, self.$field.load(Ordering::Relaxed))),+]
            }
        }
    };
}

counters! {
    connections "jos_hub_connections_total" "Connections that were taken.";
    handshakes_failed "jos_hub_handshakes_failed_total" "TLS handshakes that came to nothing.";
    requests "jos_hub_requests_total" "Requests that were answered.";
    parked "jos_hub_waits_parked_total" "Waits of devices for a change during which a connection kept no more than it needs.";
    refused "jos_hub_requests_refused_total" "Requests that were answered with a status of 400 or above.";
    enrolled "jos_hub_enrolled_total" "Devices that were enrolled.";
    tokens_refused "jos_hub_tokens_refused_total" "Enrolments whose token was not taken.";
    renewed "jos_hub_certificates_renewed_total" "Certificates that were renewed.";
    heartbeats "jos_hub_heartbeats_total" "Heartbeats that were taken.";
    reports "jos_hub_reports_total" "Reports that were acknowledged.";
    batches "jos_hub_batches_total" "Transactions that heartbeats and reports were written in.";
    states_served "jos_hub_states_served_total" "States that were sent to devices.";
    blob_bytes "jos_hub_blob_bytes_total" "Bytes of blobs that were sent to devices.";
    pushes "jos_hub_pushes_total" "States and trust documents that were accepted.";
    rollouts_halted "jos_hub_rollouts_halted_total" "Rollouts that halted by themselves.";
    pushes_refused "jos_hub_pushes_refused_total" "States and trust documents that were refused.";
}

/// One more.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// So many more.
pub fn count_all(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Metrics {
    /// A request that does not wait took so long.
    pub fn took(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|bound| millis < *bound).unwrap_or(BOUNDS.len());
        count(&self.buckets[at]);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// All of it as text; `gauges` are read from the database by the caller: name, help, label, value.
    pub fn text(&self, gauges: &[(&str, &str, String, i64)]) -> String {
        let mut out = String::new();
        for (name, help, value) in self.counters() {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
        }
        let name = "jos_hub_request_seconds";
        let _ = write!(
            out,
            "# HELP {name} Time to answer, without long polls.\n# TYPE {name} histogram\n"
        );
        let mut sum = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            sum += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS
                .get(at)
                .map_or("+Inf".to_owned(), |millis| format!("{}", *millis as f64 / 1e3));
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{name}_sum {seconds}\n{name}_count {sum}");
        let mut before = "";
        for (name, help, label, value) in gauges {
            if *name != before {
                let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
                before = name;
            }
            let _ = writeln!(out, "{name}{label} {value}");
        }
        out
    }
}
