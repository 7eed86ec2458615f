//! The two forms a scrape may have: OpenMetrics, for whoever asks for it, and the older Prometheus text for everybody else.
//!
//! They differ in one thing that matters: a counter's family is named without `_total` in the one and with it in the other.

/// What a scrape is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

impl Form {
    /// What a client gets that sent this `Accept`.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// OpenMetrics text in this form.
    #[must_use]
    pub fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus(&open_metrics),
        }
    }
}

fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 512);
    let mut help = None;
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ');
            continue;
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|said| said.split_once(' ')) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let total = if kind == "counter" { "_total" } else { "" };
        if let Some((_, help)) = help.take() {
            text.push_str(&format!("# HELP {name}{total} {help}\n"));
        }
        text.push_str(&format!("# TYPE {name}{total} {kind}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_names_a_counters_family_as_its_series() {
        let open = "# HELP a Help.\n# TYPE a counter\na_total{b=\"c\"} 1\n# HELP d More.\n# TYPE d gauge\nd 2\n# EOF\n";
        let plain =
            "# HELP a_total Help.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n# HELP d More.\n# TYPE d gauge\nd 2\n";
        assert_eq!(prometheus(open), plain);
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        assert_eq!(Form::accepted(None), Form::Prometheus);
        assert_eq!(Form::accepted(Some("*/*")), Form::Prometheus);
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Form::accepted(Some(prometheus)), Form::OpenMetrics);
    }
}
