//! How full a Redis server is, by its `INFO memory`.

use crate::{check::Outcome, report::Reason};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Memory {
    used: u64,
    /// 0 is no limit.
    max: u64,
}

impl Memory {
    pub(super) fn parse(info: &str) -> Self {
        let field = |name: &str| {
            info.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value.trim().parse().ok())
                .unwrap_or(0)
        };
        Self {
            used: field("used_memory"),
            max: field("maxmemory"),
        }
    }

    pub(super) fn judge(&self, share: f64, outcome: Outcome) -> Outcome {
        let outcome = outcome
            .observe("used_memory", self.used)
            .observe("maxmemory", self.max);
        // Both are far below the 2^53 bytes up to which this is exact.
        if self.max == 0 || self.used as f64 <= share * self.max as f64 {
            return outcome;
        }
        let percent = self.used.saturating_mul(100) / self.max;
        worse(
            outcome,
            Reason::Exhausted,
            format!("{percent} % of its memory is used"),
        )
    }
}

/// `outcome`, degraded unless it already was.
pub(super) fn worse(outcome: Outcome, reason: Reason, message: String) -> Outcome {
    if outcome.reason().is_some() {
        return outcome;
    }
    let mut degraded = Outcome::degraded(reason).message(message);
    degraded.observations = outcome.observations;
    degraded
}

#[cfg(test)]
mod tests {
    use super::{Memory, Outcome, Reason};

    #[test]
    fn memory_is_judged_by_its_share_and_only_with_a_limit() {
        for (used, max, reason) in [
            (90, 100, None),
            (91, 100, Some(Reason::Exhausted)),
            (200, 100, Some(Reason::Exhausted)),
            (91, 0, None),
        ] {
            let info = format!(
                "# Memory\r\nused_memory:{used}\r\nused_memory_human:1M\r\nmaxmemory:{max}\r\n"
            );
            let memory = Memory::parse(&info);
            assert_eq!(memory, Memory { used, max });
            assert_eq!(
                memory.judge(0.9, Outcome::up()).reason(),
                reason,
                "{used} {max}"
            );
        }
    }

    #[test]
    fn an_answer_without_the_fields_is_no_limit() {
        assert_eq!(Memory::parse("").judge(0.9, Outcome::up()).reason(), None);
    }
}
