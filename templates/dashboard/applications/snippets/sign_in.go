// Signs somebody in from a terminal: needs nothing but Go. Save it as sign_in.go and: go run sign_in.go
package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
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
	issuer      = {{ issuer|tojson }}
	clientID    = {{ client_id|tojson }}
	redirectURI = {{ redirect_uri|tojson }}
	scope       = {{ scope|tojson }}
)

func random() string {
	bytes := make([]byte, 32)
	if _, err := rand.Read(bytes); err != nil {
		log.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(bytes)
}

func send(request *http.Request) []byte {
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
	state, verifier := random(), random()
	digest := sha256.Sum256([]byte(verifier))
	query := url.Values{}
	query.Set("response_type", "code")
	query.Set("client_id", clientID)
	query.Set("redirect_uri", redirectURI)
	query.Set("scope", scope)
	query.Set("state", state)
	query.Set("code_challenge", base64.RawURLEncoding.EncodeToString(digest[:]))
	query.Set("code_challenge_method", "S256")
	fmt.Printf("Open this address and sign in:\n%s/oauth/authorize?%s\n", issuer, query.Encode())
	fmt.Println("Then paste the address that the browser was sent to:")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	address, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		log.Fatal(err)
	}
	answer := address.Query()
	if answer.Get("state") != state || answer.Get("iss") != issuer {
		log.Fatal("this answer belongs to another request")
	}
	if !answer.Has("code") {
		log.Fatalf("refused: %s", answer.Get("error"))
	}

	form := url.Values{}
	form.Set("grant_type", "authorization_code")
	form.Set("code", answer.Get("code"))
	form.Set("redirect_uri", redirectURI)
	form.Set("code_verifier", verifier)
{% if in_body or not has_secret %}
	form.Set("client_id", clientID)
{% endif %}
{% if in_body %}
	form.Set("client_secret", os.Getenv("CLIENT_SECRET")) // shown once, when it is made
{% endif %}
	request, err := http.NewRequest("POST", issuer+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
{% if has_secret and not in_body %}
	// The secret is shown once, when it is made.
	request.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(os.Getenv("CLIENT_SECRET")))
{% endif %}
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(send(request), &tokens); err != nil {
		log.Fatal(err)
	}

{% if has_userinfo %}
	request, err = http.NewRequest("GET", issuer+"/oauth/userinfo", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	fmt.Println(string(send(request)))
{% else %}
	fmt.Println("Send this to your API as: Authorization: Bearer ACCESS_TOKEN")
	fmt.Println(tokens.AccessToken)
{% endif %}
}
