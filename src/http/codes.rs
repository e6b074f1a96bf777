use http::StatusCode;

use crate::report::Status;

/// The status code for each status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes([StatusCode; 4]);

impl Default for Codes {
    fn default() -> Self {
        let mut codes = Self([StatusCode::SERVICE_UNAVAILABLE; 4]);
        codes.set(Status::Up, StatusCode::OK);
        codes.set(Status::Degraded, StatusCode::OK);
        codes
    }
}

impl Codes {
    pub(super) fn set(&mut self, status: Status, code: StatusCode) {
        self.0[status as usize] = code;
    }

    pub(super) fn of(self, status: Status) -> StatusCode {
        self.0[status as usize]
    }
}
