// A reverse proxy on Go's net/http, as Knative's queue-proxy and activator are: both versions in, HTTP/2 without TLS out.
// The upstreams are asked in turns; where one takes no connection, the next is. It prints the port that it listens on.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync/atomic"
)

type upstreams struct {
	hosts     []string
	next      atomic.Uint64
	transport http.Transport
}

// RoundTrip sends a request again only if no connection could be made.
func (u *upstreams) RoundTrip(request *http.Request) (*http.Response, error) {
	if len(u.hosts) > 1 && request.Body != nil {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	first := u.next.Add(1)
	var err error
	for turn := range u.hosts {
		attempt := request.Clone(request.Context())
		attempt.URL.Host = u.hosts[(first+uint64(turn))%uint64(len(u.hosts))]
		if request.GetBody != nil {
			attempt.Body, _ = request.GetBody()
		}
		var response *http.Response
		if response, err = u.transport.RoundTrip(attempt); err == nil {
			return response, nil
		}
		var failed *net.OpError
		if !errors.As(err, &failed) || failed.Op != "dial" {
			break
		}
	}
	return nil, err
}

func main() {
	var in, out http.Protocols
	in.SetHTTP1(true)
	in.SetUnencryptedHTTP2(true)
	out.SetUnencryptedHTTP2(true)
	all := &upstreams{hosts: os.Args[1:], transport: http.Transport{Protocols: &out}}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "kfunc"}) },
		Transport:     all,
		FlushInterval: -1,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal((&http.Server{Handler: proxy, Protocols: &in}).Serve(listener))
}
