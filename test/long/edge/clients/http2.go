// Asks a gateway over HTTP/2 as Go's own client does, and tells as JSON what came back. Arguments: URL, file with the certificate to trust.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	url := os.Args[1]
	var protocols http.Protocols
	transport := &http.Transport{Protocols: &protocols}
	if strings.HasPrefix(url, "https") {
		pem, err := os.ReadFile(os.Args[2])
		must(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		protocols.SetHTTP2(true)
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	client := &http.Client{Transport: transport}
	told := map[string]any{}

	answer, err := client.Get(url + "/echo/x")
	must(err)
	io.Copy(io.Discard, answer.Body)
	told["protocol"] = answer.Proto

	var group sync.WaitGroup
	var lock sync.Mutex
	good := 0
	for i := 0; i < 500; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			answer, err := client.Get(fmt.Sprintf("%s/echo/status?body=%d", url, i))
			if err != nil {
				return
			}
			text, _ := io.ReadAll(answer.Body)
			lock.Lock()
			defer lock.Unlock()
			if string(text) == fmt.Sprint(i) {
				good++
			}
		}()
	}
	group.Wait()
	told["good"] = good

	// Without a length: it is sent as it is made.
	answer, err = client.Post(url+"/upload", "application/octet-stream", io.MultiReader(bytes.NewReader(make([]byte, 5000000)), strings.NewReader("end")))
	must(err)
	text, _ := io.ReadAll(answer.Body)
	told["uploaded"] = strings.Contains(string(text), `"size":5000003`)

	answer, err = client.Get(url + "/chunked")
	must(err)
	io.Copy(io.Discard, answer.Body)
	told["trailer"] = answer.Trailer.Get("X-Sum")

	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", url+"/echo/hang", nil)
	_, err = client.Do(request)
	told["cancelled"] = err != nil

	answer, err = client.Get(url + "/echo/download?mb=50")
	must(err)
	size, err := io.Copy(io.Discard, answer.Body)
	must(err)
	told["downloaded"] = size
	json.NewEncoder(os.Stdout).Encode(told)
}
