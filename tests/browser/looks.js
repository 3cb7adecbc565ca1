// What can be measured of how a page looks; each function returns what is wrong, as lines of text.

(() => {
  const LEAST_CONTRAST = 4.5; // WCAG 2.2, 1.4.3 level AA, asked of large text as well
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;

  // [red, green, blue, alpha] in 0..255 and 0..1, of whatever CSS calls a colour.
  function colour(text) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = "#000";
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  }

  const over = (top, below) =>
    [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);

  function luminance(rgb) {
    const linear = rgb.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  }

  function contrast(one, other) {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }

  function opacity(element) {
    let share = 1;
    for (let each = element; each; each = each.parentElement) share *= getComputedStyle(each).opacity;
    return share;
  }

  const isDrawing = (element) => element instanceof SVGElement;

  // What is painted where an element's text is, without the text: the elements below its middle.
  function ground(element, x, y) {
    let found = document.elementsFromPoint(x, y);
    const own = found.indexOf(element);
    if (own >= 0) found = found.slice(isDrawing(element) ? own + 1 : own);
    let painted = colour(matchMedia("(prefers-color-scheme: dark)").matches ? "#000" : "#fff");
    for (const each of found.reverse()) {
      const style = getComputedStyle(each);
      if (each instanceof SVGSVGElement || !isDrawing(each)) {
        painted = over(colour(style.backgroundColor), painted);
      } else if (style.fill !== "none" && each.localName !== "text") {
        const fill = colour(style.fill);
        fill[3] *= style.fillOpacity * opacity(each);
        painted = over(fill, painted);
      }
    }
    return painted;
  }

  function textElements() {
    const found = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const parent = walker.currentNode.parentElement;
      if (walker.currentNode.data.trim() && !parent.closest("script, style, noscript, title, desc"))
        found.add(parent);
    }
    return [...found];
  }

  function isSeen(element) {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && element.checkVisibility({ visibilityProperty: true });
  }

  function called(element) {
    const text = (element.textContent || element.placeholder || "").trim().replace(/\s+/g, " ");
    return `<${element.localName} class="${element.getAttribute("class") ?? ""}"> ${text.slice(0, 40)}`;
  }

  function lowContrast() {
    const wrong = [];
    const check = (element, css, what) => {
      element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
      const box = element.getBoundingClientRect();
      const below = ground(element, box.x + box.width / 2, box.y + box.height / 2);
      const ink = colour(css);
      ink[3] *= opacity(element);
      const ratio = contrast(over(ink, below), below);
      if (ratio < LEAST_CONTRAST) wrong.push(`${ratio.toFixed(2)} ${what}${called(element)}`);
    };
    for (const element of textElements().filter(isSeen)) {
      const style = getComputedStyle(element);
      check(element, isDrawing(element) ? style.fill : style.color, "");
    }
    for (const element of [...document.querySelectorAll("input, select, button")].filter(isSeen)) {
      check(element, getComputedStyle(element).color, "");
      if (element.placeholder)
        check(element, getComputedStyle(element, "::placeholder").color, "placeholder of ");
    }
    return wrong;
  }

  // Texts of one drawing on top of each other, or cut off at its edge.
  function crowdedDrawings() {
    const wrong = [];
    for (const drawing of [...document.querySelectorAll("svg")].filter(isSeen)) {
      const frame = drawing.getBoundingClientRect();
      const texts = [...drawing.querySelectorAll("text")].filter(isSeen);
      const boxes = texts.map((text) => text.getBoundingClientRect());
      const name = drawing.querySelector("title")?.textContent;
      boxes.forEach((box, i) => {
        if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
          wrong.push(`${name}: cut off: ${called(texts[i])}`);
        for (let j = 0; j < i; j++) {
          const wide = Math.min(box.right, boxes[j].right) - Math.max(box.left, boxes[j].left);
          const high = Math.min(box.bottom, boxes[j].bottom) - Math.max(box.top, boxes[j].top);
          if (wide > 0.5 && high > 0.5)
            wrong.push(`${name}: ${wide.toFixed(0)} × ${high.toFixed(0)} px: ${called(texts[j])} and ${called(texts[i])}`);
        }
      });
    }
    return wrong;
  }

  // Drawings that a screen reader cannot tell.
  function unnamedDrawings() {
    return [...document.querySelectorAll("svg:not([aria-hidden=true], svg svg)")]
      .filter((drawing) => !drawing.querySelector(":scope > title") || !drawing.querySelector(":scope > desc"))
      .map((drawing) => `no title or description: ${drawing.outerHTML.slice(0, 80)}`);
  }

  // Pictures that did not arrive, or that nobody can be told about.
  async function missingPictures() {
    const wrong = [];
    for (const picture of document.images) {
      picture.loading = "eager";
      await picture.decode().catch(() => wrong.push(`not there: ${picture.src}`));
      if (!picture.alt) wrong.push(`no alt: ${picture.src}`);
    }
    return wrong;
  }

  // What makes the whole page scroll sideways.
  function sideways() {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const wide = [...document.querySelectorAll("body *")].filter(
      (element) => element.getBoundingClientRect().right > width + 1 && !element.closest(".scroll"));
    return [`${document.documentElement.scrollWidth} px wide`, ...wide.slice(0, 5).map(called)];
  }

  window.looks = { lowContrast, crowdedDrawings, unnamedDrawings, missingPictures, sideways };
})();
