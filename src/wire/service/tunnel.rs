//! A websocket that has no socket of its own: what the outbox holds goes into the tunnel, what comes out of it to the session.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::visit::Visit;
use crate::delivery::{Awaited, Connection, Event};
use crate::push::engine::go_on;
use crate::push::websocket::Received;
pub(super) use crate::push::websocket::Session;

/// Bytes for one read.
const READ: usize = 4 * 1024;

/// What there is to do.
enum Work {
    /// Bytes wait to be sent.
    Send,
    /// The subscription is over; its last bytes are in the outbox.
    Ended,
    /// The visit is of no more use.
    Broken,
}

/// Serves a websocket until it ends; without a session only what waits is sent.
pub(super) async fn serve<T: AsyncRead + AsyncWrite>(
    mut visit: Visit,
    session: Option<Box<Session>>,
    tunnel: impl Future<Output = Option<T>>,
) {
    let Some(tunnel) = tunnel.await else { return };
    let (mut reader, mut writer) = tokio::io::split(tunnel);
    // From now on the client has `send_timeout` to take what waits.
    visit.context().worker.flush(visit.connection());
    let ended = match session {
        Some(session) => pump(&visit, session, &mut reader, &mut writer).await,
        None => Ok(()),
    };
    visit.context().worker.unsubscribe(visit.connection());
    if ended.is_ok() && send(&visit, &mut writer).await.is_ok() && writer.shutdown().await.is_ok() {
        visit.complete();
    }
}

/// Both directions until the websocket is over.
async fn pump<T: AsyncRead + AsyncWrite>(
    visit: &Visit,
    mut session: Box<Session>,
    reader: &mut ReadHalf<T>,
    writer: &mut WriteHalf<T>,
) -> io::Result<()> {
    let connection = visit.connection();
    let context = visit.context();
    let mut input = [0; READ];
    loop {
        tokio::select! {
            work = work(connection) => match work {
                Work::Send if send(visit, writer).await? => return Ok(()),
                Work::Send => {}
                Work::Ended => return Ok(()),
                Work::Broken => return Err(io::ErrorKind::TimedOut.into()),
            },
            read = reader.read(&mut input) => {
                let mut bytes = input.get(..read?).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(());
                }
                loop {
                    match session.receive(context, connection, &mut bytes) {
                        Received::All => break,
                        Received::Over => return Ok(()),
                        Received::Ahead => go_on(&context.worker.zone_of(connection)).await,
                    }
                }
                context.worker.hold_input(connection, session.held());
            }
        }
    }
}

async fn work(connection: &Connection) -> Work {
    poll_fn(|cx| {
        loop {
            if connection.waiting() > 0 {
                return Poll::Ready(Work::Send);
            }
            match connection.poll_event(cx, Awaited::Nothing) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Event::Ended) => return Poll::Ready(Work::Ended),
                Poll::Ready(Event::Broken) => return Poll::Ready(Work::Broken),
                Poll::Ready(_) => {}
            }
        }
    })
    .await
}

/// Sends what waits; given up with the connection. Whether the subscription has ended meanwhile.
async fn send<T: AsyncWrite>(visit: &Visit, writer: &mut WriteHalf<T>) -> io::Result<bool> {
    let connection = visit.connection();
    let ended = Cell::new(false);
    let all = async {
        loop {
            // What has not been written stays where it is counted.
            let piece = connection.front();
            if piece.is_empty() {
                return if connection.is_broken() {
                    Err(io::ErrorKind::BrokenPipe.into())
                } else {
                    writer.flush().await
                };
            }
            let written = writer.write(&piece).await?;
            connection.sent(written);
            visit.context().worker.count_taken(connection, false);
        }
    };
    let broken = poll_fn(|cx| {
        loop {
            match connection.poll_event(cx, Awaited::Nothing) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Event::Broken) => return Poll::Ready(()),
                Poll::Ready(Event::Ended) => ended.set(true),
                Poll::Ready(_) => {}
            }
        }
    });
    tokio::select! {
        biased;
        () = broken => Err(io::ErrorKind::TimedOut.into()),
        sent = all => sent.map(|()| ended.get()),
    }
}
