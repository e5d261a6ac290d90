//! A message and a template become bytes: rendered once per view, framed as the connection needs them.
//!
//! The room knows templates, the wrapping of event streams, padding, chunks and websocket frames. It does no I/O and knows
//! neither HTTP status lines and headers nor who receives what.

mod callback;
mod eventsource;
mod padding;
pub mod permessage_deflate;
mod template;
mod view;
mod view_spec;
mod view_table;
mod websocket_decoder;
mod websocket_event;
pub mod websocket_frame;
mod websocket_gathering;
mod websocket_head;
mod websocket_rules;

pub use callback::{Origin, PollWriter, poll_body};
pub use padding::PaddingRule;
pub use template::{Template, Values};
pub use view::View;
pub use view_spec::{Framing, Kind, ViewSpec};
pub use view_table::ViewTable;
pub use websocket_decoder::Decoder;
pub use websocket_event::Event;
pub use websocket_frame::Farewell;
