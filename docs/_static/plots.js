// Draws the front page's chart, and paints every plot anew when the page turns dark or light. A page whose plots come late is looked at for a while.
(() => {
  const dark = () => document.documentElement.dataset.theme === "dark"
  const to = { dark: window.DARK_OF || {}, light: {} }
  for (const [light, night] of Object.entries(to.dark)) if (light.length === 7 && light[0] === "#") to.light[night] = light
  const shown = new Map()

  const painted = (value, swap) => {
    if (typeof value === "string") return swap[value.toLowerCase()]
    if (value && typeof value === "object" && typeof value.value === "string" && swap[value.value.toLowerCase()])
      return { ...value, value: swap[value.value.toLowerCase()] }
  }

  const columns = (source, swap) => {
    let changed = false
    const data = source.data instanceof Map ? Object.fromEntries(source.data) : { ...source.data }
    for (const [name, column] of Object.entries(data)) {
      if (!Array.isArray(column) || !column.some((x) => typeof x === "string" && swap[x.toLowerCase()])) continue
      data[name] = column.map((x) => (typeof x === "string" && swap[x.toLowerCase()]) || x)
      changed = true
    }
    if (changed) source.data = data
  }

  const paint = (model, swap) => {
    for (const property of model) {
      const name = property.attr
      if (!/(color|palette|^data)$/.test(name)) continue
      const value = property.get_value()
      if (name === "palette" && Array.isArray(value)) model.palette = value.map((x) => (typeof x === "string" && swap[x.toLowerCase()]) || x)
      else if (name === "data") columns(model, swap)
      else {
        const other = painted(value, swap)
        if (other !== undefined) model.setv({ [name]: other })
      }
    }
  }

  const dress = () => {
    if (!window.Bokeh) return
    const theme = dark() ? "dark" : "light"
    for (const one of Bokeh.documents) {
      if ((shown.get(one) || "light") === theme) { shown.set(one, theme); continue }
      for (const model of one.all_models) paint(model, to[theme])
      shown.set(one, theme)
    }
  }

  new MutationObserver(dress).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] })
  window.addEventListener("load", () => {
    const place = document.getElementById("front-chart")
    if (place && window.FRONT_CHART && window.Bokeh) Bokeh.embed.embed_item(window.FRONT_CHART, "front-chart").then(dress)
    let left = 60
    const later = setInterval(() => { dress(); if (--left === 0) clearInterval(later) }, 250)
  })
})()
