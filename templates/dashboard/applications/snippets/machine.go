// Gets a token for the machine itself and looks at it: needs nothing but Go. Save it as machine.go and: go run machine.go
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
)

const (
	issuer   = {{ issuer|tojson }}
	clientID = {{ client_id|tojson }}
	scope    = {{ scope|tojson }}
)

func post(path string, form url.Values) []byte {
{% if in_body %}
	form.Set("client_id", clientID)
	form.Set("client_secret", os.Getenv("CLIENT_SECRET")) // shown once, when it is made
{% endif %}
	request, err := http.NewRequest("POST", issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
{% if not in_body %}
	// The secret is shown once, when it is made.
	request.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(os.Getenv("CLIENT_SECRET")))
{% endif %}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		log.Fatalf("refused: %s", body)
	}
	return body
}

func main() {
	form := url.Values{}
	form.Set("grant_type", "client_credentials")
	form.Set("scope", scope)
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(post("/oauth/token", form), &tokens); err != nil {
		log.Fatal(err)
	}
	// Send it to your API as: Authorization: Bearer ACCESS_TOKEN. What it says, the server tells too:
	form = url.Values{}
	form.Set("token", tokens.AccessToken)
	fmt.Println(string(post("/oauth/introspect", form)))
}
