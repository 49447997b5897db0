// Evaluated in a page: what stands out too little, as lines; and how many texts and parts of controls were measured.
(() => {
  const plate = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    plate.clearRect(0, 0, 1, 1);
    plate.fillStyle = colour;
    plate.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = plate.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, at) => value * a + under[at] * (1 - a));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, two) => {
    const [high, low] = [light(one), light(two)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const line = (element) => { const all = []; for (let at = element; at; at = at.parentElement) all.unshift(at); return all; };
  const ground = (element) => line(element).reduce((under, at) => over(read(getComputedStyle(at).backgroundColor), under), [255, 255, 255]);
  const faint = (element) => line(element).reduce((share, at) => share * Number(getComputedStyle(at).opacity), 1);
  const named = (element) => line(element).slice(-3).map((at) => at.tagName.toLowerCase() + [...at.classList].map((word) => "." + word).join("")).join(" > ");
  const isOff = (element) => element.closest(":disabled, [aria-disabled=true], .vh, svg text, option, [hidden]") !== null;
  const found = [];
  let texts = 0, parts = 0;
  for (const element of document.body.querySelectorAll("*")) {
    if (isOff(element) || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const words = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join(" ").trim();
    const typed = element.matches("input:not([type=range], [type=checkbox]), select, textarea") ? element.value : "";
    const see = (colour, under, least, what) => {
      const [r, g, b, a] = read(colour);
      const got = ratio(over([r, g, b, a * faint(element)], under), under);
      if (got < least - 0.005) found.push(`${got.toFixed(2)} of ${least}: ${what} in ${named(element)}`);
    };
    if ((words || typed) && style.webkitTextFillColor !== "rgba(0, 0, 0, 0)" && read(style.color)[3] > 0) {
      texts++;
      const px = parseFloat(style.fontSize);
      const isLarge = px >= 24 || (px >= 18.66 && Number(style.fontWeight) >= 700);
      see(style.color, ground(element), isLarge ? 3 : 4.5, JSON.stringify((words || typed).slice(0, 40)));
    }
    const isControl = element.matches("button, a.btn, input:not([type=range], .vh), select, textarea");
    if (isControl && parseFloat(style.borderTopWidth) && read(style.borderTopColor)[3] > 0.02 && element.parentElement) {
      parts++; // a control is known by its border, or by what fills it
      const outside = ground(element.parentElement);
      if (ratio(ground(element), outside) < 3 && !words) see(style.borderTopColor, outside, 3, "border");
    }
    if (element.matches("button svg, a svg, .st svg")) {
      parts++;
      see(style.color, ground(element), 3, "icon");
    }
  }
  return { found: [...new Set(found)], texts, parts };
})()
