//! `limit_conn` and `limit_req`: zones and what they allow.

use crate::conf::variable::Complex;

/// `limit_conn_zone` / `limit_req_zone`.
#[derive(Debug)]
pub struct LimitZone {
    /// Name of the zone.
    pub name: Box<str>,
    /// Key; requests with an empty key are not counted.
    pub key: Complex,
    /// Requests per 1000 seconds (`limit_req_zone` only).
    pub rate: Option<u64>,
    /// Most memory its keys may take, bytes.
    pub size: u64,
}

/// `limit_conn`.
#[derive(Clone, Debug)]
pub struct LimitConn {
    /// Index into [`Settings::limit_zones`].
    pub zone: usize,
    /// Most connections at once.
    pub most: u32,
    /// `limit_conn_status`
    pub status: u16,
}

/// `limit_req`.
#[derive(Clone, Debug)]
pub struct LimitReq {
    /// Index into [`Settings::limit_zones`].
    pub zone: usize,
    /// `burst=`
    pub burst: u32,
    /// `nodelay` (`delay=N`: requests of the burst that are not delayed; `u32::MAX` for `nodelay`).
    pub nodelay: u32,
    /// `limit_req_status`
    pub status: u16,
}
