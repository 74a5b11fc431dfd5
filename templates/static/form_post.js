// Sends the authorization response to the client at once (OAuth 2.0 Form Post Response Mode). Without scripts the person presses Continue.
document.getElementById("form-post").submit();
