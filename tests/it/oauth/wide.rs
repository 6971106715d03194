//! The way to the internet that the program really goes, on loopback: only where a name leads is the
//! test's own.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use local_llm_mcp::oauth::{Net, WideNet};

const LIMIT: Duration = Duration::from_millis(300);

#[test]
fn a_server_that_drips_below_tls_holds_nobody_past_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        // A record of TLS that says that 16 KiB follow, and a byte of it now and then.
        scope.spawn(|| {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(&[0x16, 3, 3, 0x40, 0]).unwrap();
            while socket.write_all(&[0]).is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        let net = WideNet::default();
        let mut channel = net.connect(address, "client.example", begun + LIMIT).unwrap();
        let error = channel.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert_eq!(channel.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        let took = begun.elapsed();
        assert!(took >= LIMIT && took < LIMIT + Duration::from_secs(2), "{took:?}");
    });
}
