<?php
// Publishes as Bitrix's PHP does since 2020: HTTP/1.1, Connection: close, the answer awaited.
// Usage: php publish-curl.php URL < LINES   each line: {"ids": ["..."], "body": "..."}; prints each answer as a line of JSON.

while (($line = fgets(STDIN)) !== false) {
    $message = json_decode($line, true, 16, JSON_THROW_ON_ERROR);
    $curl = curl_init($argv[1] . '?CHANNEL_ID=' . implode('/', $message['ids']));
    curl_setopt_array($curl, [
        CURLOPT_POST => true,
        CURLOPT_POSTFIELDS => $message['body'],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_FORBID_REUSE => true,
        CURLOPT_FRESH_CONNECT => true,
        CURLOPT_CONNECTTIMEOUT => 5,
        CURLOPT_TIMEOUT => 10,
        CURLOPT_HTTPHEADER => [
            'Connection: close',
            'Accept: */*',
            'Accept-Language: en',
            'Message-Expiry: 86400',
            'Content-Type: application/x-www-form-urlencoded; charset=UTF-8',
        ],
    ]);
    $body = curl_exec($curl);
    if ($body === false) {
        fwrite(STDERR, curl_error($curl) . "\n");
        exit(1);
    }
    echo json_encode(['status' => curl_getinfo($curl, CURLINFO_RESPONSE_CODE), 'body' => $body]), "\n";
    curl_close($curl);
}
