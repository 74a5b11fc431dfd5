// Goes on when every app's page has loaded, or after some seconds (OpenID Connect Front-Channel Logout 1.0 §2). Without
// scripts the page goes on by itself.
(() => {
  const longest = 5000;
  const target = document.getElementById("frontchannel-continue").href;
  let isGone = false;

  const goOn = () => {
    if (!isGone) location.replace(target);
    isGone = true;
  };

  // The page itself has loaded when all its frames have, those too that could not be had.
  if (document.readyState === "complete") goOn();
  else addEventListener("load", goOn);
  setTimeout(goOn, longest);
})();
