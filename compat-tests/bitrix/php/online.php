<?php
// Bitrix's check of who is online: GET with all private ids, in two forms: without a body (until 2020) and with one (since).
// Usage: php online.php URL ID...; prints one line of JSON a form: {"status": ..., "body": ...}

$url = $argv[1];
$ids = array_slice($argv, 2);
foreach ([null, implode('/', $ids)] as $body) {
    $curl = curl_init("$url?CHANNEL_ID=" . implode('/', $ids));
    $options = [
        CURLOPT_CUSTOMREQUEST => 'GET',
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 10,
        CURLOPT_HTTPHEADER => ['Connection: close', 'Accept: */*', 'Accept-Language: en'],
    ];
    if ($body !== null) {
        $options[CURLOPT_POSTFIELDS] = $body;
    }
    curl_setopt_array($curl, $options);
    $answer = curl_exec($curl);
    if ($answer === false) {
        fwrite(STDERR, curl_error($curl) . "\n");
        exit(1);
    }
    echo json_encode(['status' => curl_getinfo($curl, CURLINFO_RESPONSE_CODE), 'body' => $answer]), "\n";
    curl_close($curl);
}
