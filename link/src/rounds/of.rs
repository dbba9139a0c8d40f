//! The steps of the loop between a question and what came of it.

/// What the loop waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Ca,
    CaTaken,
    Enrolment,
    Enrolled,
    EnrolledTaken,
    Challenge,
    Renewal,
    Recovered,
    Renew,
    Renewed,
    CertificateTaken,
    Heartbeat,
    Heard,
    HeardTaken,
    Trust(u64),
    TrustTaken(u64),
    HubCa,
    HubCaTaken,
    Floor,
    FloorSaid,
    FloorTaken,
    Report,
    Reported,
    ReportedTaken,
    Poll { began: u64, wait: u64 },
    StateTaken,
    BarredTaken { pause: u64 },
}
