<?php
// The requests of Bitrix's site checker, in its order: publish with two bytes too many, read, publish again, one read of
// 4096 bytes has to bring the message with its head, delete.
// Usage: php site-checker.php SUB_PORT SUB_PATH PUB_PORT PUB_PATH CHANNEL_ID; prints OK, or what went wrong and exits with 1.

[$self, $subPort, $subPath, $pubPort, $pubPath, $id] = $argv;
$text = md5('site checker');

function connect(string $port)
{
    $socket = fsockopen('127.0.0.1', (int) $port, $number, $error, 5);
    if ($socket === false) {
        echo "connect to $port: $error\n";
        exit(1);
    }
    stream_set_timeout($socket, 5);
    return $socket;
}

function publish(string $port, string $path, string $id, string $text): void
{
    $socket = connect($port);
    fwrite($socket, "POST $path?CHANNEL_ID=$id HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: " . strlen($text) . "\r\n\r\n$text\r\n");
    fclose($socket);
}

publish($pubPort, $pubPath, $id, $text);
usleep(200000);

$subscriber = connect($subPort);
$since = date('r', time() - 86400);
fwrite($subscriber, "GET $subPath?CHANNEL_ID=$id HTTP/1.0\r\nHost: 127.0.0.1\r\nIf-Modified-Since: $since\r\n\r\n");
publish($pubPort, $pubPath, $id, $text);

$read = fread($subscriber, 4096);
fclose($subscriber);
if (!is_string($read) || !str_contains($read, $text)) {
    echo 'one read brought: ' . json_encode($read) . "\n";
    exit(1);
}

$delete = connect($pubPort);
fwrite($delete, "DELETE $pubPath?CHANNEL_ID=$id HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
fclose($delete);
echo "OK\n";
