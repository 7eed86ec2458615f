// Whether a request came through keyward, and in whose name. Go 1.19 or later, the standard library only.
package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var required = []string{"@method", "@authority", "@path", "@query", "x-request-id"}
var identity = []string{"x-keyward-account", "x-keyward-user", "x-keyward-key", "x-keyward-kind", "x-keyward-permissions"}

// Seconds that this machine's clock may be behind keyward's.
const clockSkew = 5

var input = regexp.MustCompile(
	`^keyward=(\(("[^"\\]+"(?: "[^"\\]+")*)\);created=([0-9]{1,12});expires=([0-9]{1,12});keyid="([^"\\]+)";alg="hmac-sha256")$`)

// Verify gives the identity headers of a request that came through keyward, by name in lower case; none on an open
// route. Where it errs, answer 401 and log the reason. keys are the bytes of each key by its id: two while one replaces
// the other.
func Verify(r *http.Request, keys map[string][]byte, now time.Time) (map[string]string, error) {
	fields := map[string]string{"host": r.Host}
	for name, values := range r.Header {
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if before, twice := fields[name]; twice {
			values = append([]string{before}, values...)
		}
		fields[name] = strings.Join(values, ", ")
	}
	said := input.FindStringSubmatch(fields["signature-input"])
	if said == nil {
		return nil, errors.New("no signature of keyward's form")
	}
	params, covered := said[1], strings.Split(strings.Trim(said[2], `"`), `" "`)
	key, known := keys[said[5]]
	if !known {
		return nil, errors.New("signed under a key that is not known here")
	}
	created, _ := strconv.ParseInt(said[3], 10, 64)
	expires, _ := strconv.ParseInt(said[4], 10, 64)
	if now.Unix() < created-clockSkew || now.Unix() > expires {
		return nil, errors.New("signed too long ago, or in the future")
	}

	must := append([]string{}, required...)
	told := map[string]string{}
	for _, name := range identity {
		if value, stands := fields[name]; stands {
			must = append(must, name)
			told[name] = value
		}
	}
	// r.RequestURI is the target as it came; r.URL is unescaped.
	path, query, _ := strings.Cut(r.RequestURI, "?")
	values := map[string]string{
		"@method": r.Method, "@authority": strings.ToLower(r.Host), "@path": path, "@query": "?" + query,
	}
	for _, name := range must[len(required)-1:] {
		values[name] = fields[name]
	}
	var base strings.Builder
	for _, name := range covered {
		value, wanted := values[name]
		if !wanted {
			return nil, errors.New("a header was signed that does not stand there")
		}
		delete(values, name)
		fmt.Fprintf(&base, "%q: %s\n", name, value)
	}
	if len(values) > 0 {
		return nil, errors.New("a header stands there that was not signed")
	}
	base.WriteString(`"@signature-params": ` + params)

	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(base.String()))
	expected := "keyward=:" + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + ":"
	if !hmac.Equal([]byte(expected), []byte(fields["signature"])) {
		return nil, errors.New("the signature is not this request's")
	}
	return told, nil
}

// go run verify.go KEY_ID=KEY_FILE [UNIX_TIME] < the head of a request, as it came
func main() {
	id, file, _ := strings.Cut(os.Args[1], "=")
	key, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	request, err := http.ReadRequest(bufio.NewReader(os.Stdin))
	if err != nil {
		panic(err)
	}
	now := time.Now()
	if len(os.Args) > 2 {
		seconds, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err != nil {
			panic(err)
		}
		now = time.Unix(seconds, 0)
	}
	told, err := Verify(request, map[string][]byte{id: key}, now)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rejected:", err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(told)
}
