<?php
// Publishes as Bitrix's PHP did until 2020: one socket a message, HTTP/1.0, closed right after the write, nothing read.
// Usage: php publish-socket.php PORT PATH [wait] < LINES   each line: {"ids": ["..."], "body": "...", "expiry": 86400}
// With `wait` the answer is read, as the oldest versions did, and printed as one JSON string a line.

[$self, $port, $path] = $argv;
$wait = ($argv[3] ?? '') === 'wait';

while (($line = fgets(STDIN)) !== false) {
    $message = json_decode($line, true, 16, JSON_THROW_ON_ERROR);
    $body = $message['body'];
    $socket = fsockopen('127.0.0.1', (int) $port, $number, $error, 5);
    if ($socket === false) {
        fwrite(STDERR, "connect: $error\n");
        exit(1);
    }
    $request = "POST $path?CHANNEL_ID=" . implode('/', $message['ids']) . " HTTP/1.0\r\n"
        . "Connection: close\r\n"
        . "User-Agent: BitrixSM CHTTP class\r\n"
        . "Accept: */*\r\n"
        . "Host: 127.0.0.1\r\n"
        . "Accept-Language: en\r\n"
        . (isset($message['expiry']) ? "Message-Expiry: {$message['expiry']}\r\n" : '')
        . "Content-type: application/x-www-form-urlencoded\r\n"
        . 'Content-Length: ' . strlen($body) . "\r\n\r\n"
        . $body;
    for ($sent = 0; $sent < strlen($request); $sent += $written) {
        $written = fwrite($socket, substr($request, $sent));
        if ($written === false || $written === 0) {
            fwrite(STDERR, "write failed after $sent bytes\n");
            exit(1);
        }
    }
    if ($wait) {
        echo json_encode(stream_get_contents($socket)), "\n";
    }
    fclose($socket);
}
